/// Dense Qwen3 (Qwen Team, 2025): a norm on each query and key head, heads of 128 unless said otherwise; checkpoints of
/// `Qwen3ForCausalLM`.
enum Qwen3: ModelFamily {
  static let modelTypes = ["qwen3"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.headDimension = try config.count("head_dim", default: 128)
    model.queryKeyNorm = .perHead
    if try config.flag("use_sliding_window", default: false) {
      let first = try config.number("max_window_layers", default: 28)
      try model.readWindow(config, default: 4096) { Double($0) >= first }
    }
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    return model
  }
}
