/// Gemma 2 (Gemma Team, 2024): sandwich norms whose weights are around 0, scaled embeddings, soft caps, a window in every
/// other layer; checkpoints of `Gemma2ForCausalLM`.
enum Gemma2: ModelFamily {
  static let modelTypes = ["gemma2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try common(config, modelType: modelType)
    model.attentionSoftCap = try softCap("attn_logit_softcapping", config, default: 50)
    model.logitSoftCap = try softCap("final_logit_softcapping", config, default: 30)
    try model.readWindow(config, default: config.json["sliding_window"] == nil ? 4096 : nil) { $0 % 2 == 0 }
    return model
  }

  /// What Gemma 2 and 3 have in common.
  static func common(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    model.headDimension = try config.count("head_dim", default: 256)
    model.activation = try Activation(named: "hidden_activation", of: config, default: "gelu_pytorch_tanh")
    model.tiesEmbeddings = try config.flag("tie_word_embeddings", default: true)
    (model.norm, model.scalesEmbeddings) = (.rmsPlusOne, true)
    model.sandwichNorms = SandwichNorms(
      attentionOutput: "post_attention_layernorm", feedForwardInput: "pre_feedforward_layernorm",
      feedForwardOutput: "post_feedforward_layernorm")
    model.scoreDivisor = try config.number("query_pre_attn_scalar", default: 256)
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    try config.refuse("use_bidirectional_attention", unless: { $0 == false }, "tokens see only those before them")
    return model
  }

  /// Null says that there is none.
  private static func softCap(_ key: String, _ config: ConfigReader, default cap: Double) throws -> Double? {
    config.json[key]?.isNull == true ? nil : try config.number(key, default: cap)
  }
}
