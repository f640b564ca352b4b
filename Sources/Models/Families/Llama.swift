/// Llama 1, 2, 3, 3.1 and 3.2 (Touvron et al., 2023; Llama Team, 2024); checkpoints of `LlamaForCausalLM`.
enum Llama: ModelFamily {
  static let modelTypes = ["llama"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    model.feedForwardBias = try config.flag("mlp_bias", default: false)
    return model
  }
}
