/// MiMo-7B (Xiaomi, 2025): Qwen2 with layers that predict tokens further on, which are left aside; checkpoints of
/// `MiMoForCausalLM`.
enum MiMo: ModelFamily {
  static let modelTypes = ["mimo"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try Qwen2.configuration(config, modelType: modelType)
    model.queryKeyValueBias = try config.flag("attention_bias", default: true)
    model.ignoredPrefixes = ["model.mtp_layers."]
    return model
  }
}
