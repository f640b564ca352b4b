/// DeepSeek-V3 and R1 (DeepSeek-AI, 2024) and those built like them (Moonlight, Kimi-K2): multi-head latent attention, dense
/// layers first, then mixtures with group-limited choice; checkpoints of `DeepseekV3ForCausalLM` in bf16.
enum DeepseekV3: ModelFamily {
  static let modelTypes = ["deepseek_v3", "kimi_k2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try attention(config, modelType: modelType)
    model.mixture = try MixtureConfiguration(deepseek: config, layerCount: model.layerCount)
    model.extraLayerCount = Int(try config.number("num_nextn_predict_layers", default: 0))
    return model
  }

  /// What V2 and V3 have in common.
  static func attention(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let latent = try LatentAttentionConfiguration(config)
    var model = try ModelConfiguration(common: config, modelType: modelType, headDimension: latent.queryDimension)
    // Each head has keys and values of its own, whatever num_key_value_heads says.
    model.keyValueHeadCount = model.headCount
    model.latentAttention = latent
    model.rotatedDimension = latent.rotatedDimension
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    return model
  }
}
