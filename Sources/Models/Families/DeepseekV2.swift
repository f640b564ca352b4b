/// DeepSeek-V2, V2-Lite and V2.5 (DeepSeek-AI, 2024): multi-head latent attention, dense layers first, then mixtures chosen
/// by softmax scores; checkpoints of `DeepseekV2ForCausalLM`.
enum DeepseekV2: ModelFamily {
  static let modelTypes = ["deepseek_v2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try DeepseekV3.attention(config, modelType: modelType)
    model.feedForwardBias = try config.flag("mlp_bias", default: false)
    model.mixture = try MixtureConfiguration(deepseekV2: config, layerCount: model.layerCount)
    return model
  }
}
