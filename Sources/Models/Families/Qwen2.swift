/// Qwen2 and Qwen2.5 (Qwen Team, 2024): biases on query, key and value alone; checkpoints of `Qwen2ForCausalLM`.
enum Qwen2: ModelFamily {
  static let modelTypes = ["qwen2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.queryKeyValueBias = true
    return model
  }
}
