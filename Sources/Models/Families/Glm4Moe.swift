/// GLM-4.5, 4.6 and 4.7 (Zhipu AI, 2025): half of each head is rotated, dense layers first, then mixtures; checkpoints of
/// `Glm4MoeForCausalLM`.
enum Glm4Moe: ModelFamily {
  static let modelTypes = ["glm4_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType, partialRotary: true)
    let factor = try config.value("rope_parameters")?["partial_rotary_factor"]?.double
      ?? config.number("partial_rotary_factor", default: 0.5)
    let rotated = Int(Double(model.headDimension) * factor)
    guard rotated > 0, rotated <= model.headDimension, rotated % 2 == 0 else {
      throw ModelError(
        "\(config.source) has a partial_rotary_factor that rotates \(rotated) of \(model.headDimension) dimensions; it must be an even number of them")
    }
    model.rotatedDimension = rotated
    model.normEpsilon = try config.number("rms_norm_eps", default: 1e-5)
    model.queryKeyNorm = try config.flag("use_qk_norm", default: false)
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.mixture = try MixtureConfiguration(deepseek: config, layerCount: model.layerCount)
    model.extraLayerCount = Int(try config.number("num_nextn_predict_layers", default: 0))
    return model
  }
}
