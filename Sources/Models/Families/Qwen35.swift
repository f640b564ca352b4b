import JSON

/// The language model of dense Qwen3.5 (Qwen Team, 2026): Qwen3-Next's layers, whose projections are kept apart;
/// checkpoints of `Qwen3_5ForCausalLM`.
enum Qwen35: ModelFamily {
  static let modelTypes = ["qwen3_5_text"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    try Qwen3Next.hybrid(config, modelType: modelType)
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let projected = Qwen3Next.channels("linear_attn.in_proj_", of: "linear_attn.in_proj_qkv", weight, shape, model)
    return projected.isEmpty ? Qwen3Next.gatedOrConvolved(weight, shape, model) : projected
  }
}

/// The same with mixtures of experts and a shared one in every layer; checkpoints of `Qwen3_5MoeForCausalLM`.
enum Qwen35Moe: ModelFamily {
  static let modelTypes = ["qwen3_5_moe_text"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let inner = try config.count("moe_intermediate_size", default: 512)
    // No layer is dense.
    let config = config.setting("intermediate_size", config.value("intermediate_size") ?? .int(inner))
      .setting("moe_intermediate_size", .int(inner))
    var model = try Qwen3Next.hybrid(config, modelType: modelType)
    var mixture = MixtureConfiguration(
      expertCount: try config.count("num_experts", default: 256), 
      expertsPerToken: try config.count("num_experts_per_tok", default: 8), intermediateSize: inner,
      layers: Array(0..<model.layerCount))
    mixture.normalizesWeights = true
    mixture.shared = try Qwen3Next.sharedExpert(config)
    try mixture.check(config)
    model.mixture = mixture
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    Qwen35.stored(weight, shape, model)
  }
}
