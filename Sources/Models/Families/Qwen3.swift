/// Dense Qwen3 (Qwen Team, 2025): a norm on each query and key head, heads of 128 unless said otherwise; checkpoints of
/// `Qwen3ForCausalLM`.
enum Qwen3: ModelFamily {
  static let modelTypes = ["qwen3"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.headDimension = try config.count("head_dim", default: 128)
    model.queryKeyNorm = true
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    return model
  }
}
