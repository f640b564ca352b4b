/// GLM-4-9B (Zhipu AI, 2024) as `transformers` has it: half of each head is rotated, in pairs that stand side by side;
/// gate and up are kept as one matrix; checkpoints of `GlmForCausalLM`.
enum Glm: ModelFamily {
  static let modelTypes = ["glm"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config.setting("head_dim", .int(config.count("head_dim", default: 128))), modelType: modelType, partialRotary: 0.5)
    model.normEpsilon = try config.number("rms_norm_eps", default: 1.5625e-7)
    model.rotaryIsInterleaved = true
    model.queryKeyValueBias = try config.flag("attention_bias", default: true)
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    Phi3.gateUp(weight, shape)
  }
}
