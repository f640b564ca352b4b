import JSON

/// Gemma 3's language model (Gemma Team, 2025): Gemma 2 with norms of query and key heads in the place of soft caps, and a
/// rotary base of its own in the layers with a window; checkpoints of `Gemma3ForCausalLM`, and of
/// `Gemma3ForConditionalGeneration`, whose vision tower is left aside.
enum Gemma3: ModelFamily {
  static let modelTypes = ["gemma3_text", "gemma3"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let config = modelType == "gemma3" ? ofLanguageModel(config) : config
    var model = try Gemma2.common(config, modelType: modelType)
    model.queryKeyNorm = .perHead
    model.rotary = try RotaryConfiguration(
      config, contextLength: model.contextLength, base: 1e6, layerType: "full_attention")
    model.windowedRotary = try windowedRotary(config, contextLength: model.contextLength)
    let pattern = try config.count(
      "sliding_window_pattern", default: config.count("_sliding_window_pattern", default: 6))
    try model.readWindow(config, default: config.json["sliding_window"] == nil ? 4096 : nil) { ($0 + 1) % pattern != 0 }
    if config.value("final_logit_softcapping") != nil { model.logitSoftCap = try config.number("final_logit_softcapping") }
    try config.refuse(
      "attn_logit_softcapping", unless: { _ in false }, "transformers reads it for this family and does not use it; leave it out")
    model.ignoredPrefixes = modelType == "gemma3" ? eyes + eyes.map { "model." + $0 } : []
    return model
  }

  private static let eyes = ["vision_tower.", "multi_modal_projector."]

  /// What is said of it in a model with eyes, where the sizes of the smallest may go without saying.
  private static func ofLanguageModel(_ config: ConfigReader) -> ConfigReader {
    let text = config.ofLanguageModel
    let defaults: [String: JSONValue] = [
      "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262_208,
      "max_position_embeddings": 131_072,
    ]
    return defaults.reduce(text.setting("tie_word_embeddings", config.value("tie_word_embeddings") ?? true)) { text, entry in
      text.value(entry.key) == nil ? text.setting(entry.key, entry.value) : text
    }
  }

  /// As it is published, and as transformers 5 may have it.
  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    guard model.modelType == "gemma3" else { return [] }
    return ["language_model." + weight.full, weight.inMultimodalModel].map { StoredPart($0, shape) }
  }

  private static func windowedRotary(_ config: ConfigReader, contextLength: Int) throws -> RotaryConfiguration {
    guard config.value("rope_parameters")?["sliding_attention"] != nil else {
      return RotaryConfiguration(base: try config.number("rope_local_base_freq", default: 10_000))
    }
    return try RotaryConfiguration(config, contextLength: contextLength, layerType: "sliding_attention")
  }
}
