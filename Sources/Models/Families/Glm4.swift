/// GLM-4-0414 and GLM-Z1 (Zhipu AI, 2025): GLM with norms of what attention and feed-forward say; checkpoints of
/// `Glm4ForCausalLM`.
enum Glm4: ModelFamily {
  static let modelTypes = ["glm4"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try Glm.configuration(config, modelType: modelType)
    model.sandwichNorms = SandwichNorms(
      attentionOutput: "post_self_attn_layernorm", feedForwardInput: "post_attention_layernorm",
      feedForwardOutput: "post_mlp_layernorm")
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    Phi3.gateUp(weight, shape)
  }
}
