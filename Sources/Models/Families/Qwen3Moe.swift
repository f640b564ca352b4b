/// Qwen3 with mixtures of experts (Qwen Team, 2025): attention as in dense Qwen3, with heads of hidden_size /
/// num_attention_heads unless said otherwise; checkpoints of `Qwen3MoeForCausalLM`.
enum Qwen3Moe: ModelFamily {
  static let modelTypes = ["qwen3_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.queryKeyNorm = .perHead
    if try config.flag("use_sliding_window", default: false) { try model.readWindow(config, default: 4096) { _ in true } }
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    // transformers 5 says `num_local_experts`.
    let key = config.value("num_experts") == nil ? "num_local_experts" : "num_experts"
    model.mixture = try MixtureConfiguration(
      qwen: config, layerCount: model.layerCount, expertCount: try config.count(key))
    return model
  }
}
