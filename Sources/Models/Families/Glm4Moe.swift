/// GLM-4.5, 4.6 and 4.7 (Zhipu AI, 2025): half of each head is rotated, dense layers first, then mixtures; checkpoints of
/// `Glm4MoeForCausalLM`.
enum Glm4Moe: ModelFamily {
  static let modelTypes = ["glm4_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType, partialRotary: 0.5)
    model.normEpsilon = try config.number("rms_norm_eps", default: 1e-5)
    model.queryKeyNorm = try config.flag("use_qk_norm", default: false) ? .perHead : nil
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.mixture = try MixtureConfiguration(deepseek: config, layerCount: model.layerCount)
    model.extraLayerCount = Int(try config.number("num_nextn_predict_layers", default: 0))
    return model
  }
}
