/// MiniMax-M2 (MiniMax, 2025): queries and keys normed over all heads together, a part of each head rotated, sigmoid
/// routing with a bias for choosing; checkpoints of `MiniMaxM2ForCausalLM` in bf16.
enum MiniMaxM2: ModelFamily {
  static let modelTypes = ["minimax_m2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let head = try config.count("head_dim", default: 128)
    let rotated = try config.count("rotary_dim", default: head)
    var model = try ModelConfiguration(
      common: config.setting("head_dim", .int(head)), modelType: modelType, rotaryBase: 5e6, partialRotary: Double(rotated) / Double(head))
    model.queryKeyNorm = .acrossHeads
    var mixture = try MixtureConfiguration(local: config, layerCount: model.layerCount)
    (mixture.score, mixture.hasChoiceBias) = (.sigmoid, true)
    model.mixture = mixture
    try config.refuse("scoring_func", unless: { $0 == "sigmoid" }, "only sigmoid is supported for this family")
    try config.refuse("qk_norm_type", unless: { $0 == "per_layer" }, "only per_layer is supported for this family")
    if try config.flag("use_mtp", default: false) { model.extraLayerCount = Int(try config.number("num_mtp_modules", default: 0)) }
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    Mixtral.stored(weight, shape, model)
  }
}
