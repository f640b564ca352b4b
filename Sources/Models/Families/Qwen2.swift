/// Qwen2 and Qwen2.5 (Qwen Team, 2024): biases on query, key and value alone; checkpoints of `Qwen2ForCausalLM`.
enum Qwen2: ModelFamily {
  static let modelTypes = ["qwen2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.queryKeyValueBias = true
    if try config.flag("use_sliding_window", default: false) {
      let first = try config.number("max_window_layers", default: 28)
      try model.readWindow(config, default: 4096) { Double($0) >= first }
    }
    return model
  }
}
