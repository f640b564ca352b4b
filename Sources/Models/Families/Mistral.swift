/// Mistral 7B, Nemo and Small (Jiang et al., 2023): Llama with an optional sliding window; checkpoints of
/// `MistralForCausalLM`.
enum Mistral: ModelFamily {
  static let modelTypes = ["mistral"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    // Without a word about it there is one; null says that there is none.
    try model.readWindow(config, default: config.json["sliding_window"] == nil ? 4096 : nil) { _ in true }
    return model
  }
}
