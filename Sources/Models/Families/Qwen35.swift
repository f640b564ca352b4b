import JSON

/// Dense Qwen3.5 (Qwen Team, 2026): Qwen3-Next's layers, whose projections are kept apart, with positions of three axes and
/// Qwen3-VL's vision tower; checkpoints of `Qwen3_5ForConditionalGeneration`, and of the language model alone,
/// `Qwen3_5ForCausalLM`.
enum Qwen35: ModelFamily {
  static let modelTypes = ["qwen3_5_text", "qwen3_5"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let text = ofLanguageModel(config, modelType)
    var model = try Qwen3Next.hybrid(text, modelType: modelType)
    model.extraLayerCount = try predictionLayers(text)
    return try seeing(model, config)
  }

  /// What is said of the language model, which may be all there is.
  static func ofLanguageModel(_ config: ConfigReader, _ modelType: String) -> ConfigReader {
    isLanguageModel(modelType)
      ? config
      : config.ofLanguageModel.setting("tie_word_embeddings", config.value("tie_word_embeddings") ?? false)
  }

  /// Several, which would share what stands around their blocks, or one with an embedding of its own, are left aside.
  static func predictionLayers(_ text: ConfigReader) throws -> Int {
    let hasOwnEmbedding = try text.flag("mtp_use_dedicated_embeddings", default: false)
    return try text.number("mtp_num_hidden_layers", default: 0) == 1 && !hasOwnEmbedding ? 1 : 0
  }

  private static func isLanguageModel(_ modelType: String) -> Bool { modelType.hasSuffix("_text") }

  /// A language model with its eyes, where it has some.
  static func seeing(_ language: ModelConfiguration, _ config: ConfigReader) throws -> ModelConfiguration {
    guard !isLanguageModel(language.modelType) else { return language }
    var model = language
    model.multimodalRotary = try MultimodalRotary(
      config.ofLanguageModel, default: [11, 11, 10], isInterleaved: true,
      rotatedDimension: model.rotatedDimension ?? model.headDimension)
    model.vision = try Qwen3VL.tower(config, outputSize: model.hiddenSize, imageToken: 248_056)
    try config.ofVisionTower.refuse(
      "deepstack_visual_indexes", unless: { $0.array?.isEmpty == true }, "this family's tower feeds no layers of the language model")
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let projected = Qwen3Next.channels("linear_attn.in_proj_", of: "linear_attn.in_proj_qkv", weight, shape, model)
    let parts = projected.isEmpty ? Qwen3Next.gatedOrConvolved(weight, shape, model) : projected
    if let own = Qwen3Next.predicting(weight, shape, model, parts) { return own }
    guard model.vision != nil else { return parts }
    return (parts.isEmpty ? [StoredPart(weight.full, shape)] : parts).map(\.inMultimodalModel)
  }
}

/// The same with mixtures of experts and a shared one in every layer; checkpoints of `Qwen3_5MoeForConditionalGeneration` and
/// `Qwen3_5MoeForCausalLM`.
enum Qwen35Moe: ModelFamily {
  static let modelTypes = ["qwen3_5_moe_text", "qwen3_5_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var text = Qwen35.ofLanguageModel(config, modelType)
    let inner = try text.count("moe_intermediate_size", default: 512)
    // No layer is dense.
    text = text.setting("intermediate_size", text.value("intermediate_size") ?? .int(inner))
      .setting("moe_intermediate_size", .int(inner))
    var model = try Qwen3Next.hybrid(text, modelType: modelType)
    var mixture = MixtureConfiguration(
      expertCount: try text.count("num_experts", default: 256),
      expertsPerToken: try text.count("num_experts_per_tok", default: 8), intermediateSize: inner,
      layers: Array(0..<model.layerCount))
    mixture.normalizesWeights = true
    mixture.shared = try Qwen3Next.sharedExpert(text)
    try mixture.check(text)
    model.mixture = mixture
    model.extraLayerCount = try Qwen35.predictionLayers(text)
    return try Qwen35.seeing(model, config)
  }

  /// With a tower the experts of a layer are published as one; transformers can save each by itself.
  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let apart = Qwen35.stored(weight, shape, model)
    guard model.vision != nil, let stacked = weight.stackedExperts(shape, model) else { return apart }
    return (Qwen3Next.predicting(weight, shape, model, [stacked]) ?? [stacked.inMultimodalModel]) + apart
  }
}
