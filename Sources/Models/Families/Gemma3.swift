/// Gemma 3's language model (Gemma Team, 2025): Gemma 2 with norms of query and key heads in the place of soft caps, and a
/// rotary base of its own in the layers with a window; checkpoints of `Gemma3ForCausalLM`.
enum Gemma3: ModelFamily {
  static let modelTypes = ["gemma3_text"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
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
    return model
  }

  private static func windowedRotary(_ config: ConfigReader, contextLength: Int) throws -> RotaryConfiguration {
    guard config.value("rope_parameters")?["sliding_attention"] != nil else {
      return RotaryConfiguration(base: try config.number("rope_local_base_freq", default: 10_000))
    }
    return try RotaryConfiguration(config, contextLength: contextLength, layerType: "sliding_attention")
  }
}
