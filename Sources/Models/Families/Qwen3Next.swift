import JSON

/// Qwen3-Next (Qwen Team, 2025): three layers of gated delta rule to one of gated attention, norms whose weights are around 0,
/// mixtures with a shared expert, and one layer that predicts tokens further on; checkpoints of `Qwen3NextForCausalLM`.
enum Qwen3Next: ModelFamily {
  static let modelTypes = ["qwen3_next"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try hybrid(config, modelType: modelType)
    var mixture = try MixtureConfiguration(
      qwen: config, layerCount: model.layerCount, expertCount: try config.count("num_experts", default: 512))
    mixture.normalizesWeights = try config.flag("norm_topk_prob", default: true)
    mixture.shared = try sharedExpert(config)
    // Without any, all layers are dense.
    model.mixture = mixture.layers.isEmpty ? nil : mixture
    // Several would share what stands around their blocks: they are left aside.
    model.extraLayerCount = try config.number("num_nextn_predict_layers", default: 1) == 1 ? 1 : 0
    return model
  }

  /// What Qwen3-Next and Qwen3.5 have in common.
  static func hybrid(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(
      common: config.setting("head_dim", config.value("head_dim") ?? 256), modelType: modelType, partialRotary: 0.25)
    (model.norm, model.queryKeyNorm, model.gatesAttention) = (.rmsPlusOne, .perHead, true)
    model.queryKeyValueBias = try config.flag("attention_bias", default: false)
    model.outputBias = model.queryKeyValueBias
    model.linearAttention = try LinearAttentionConfiguration(
      config, layerCount: model.layerCount, interval: try config.count("full_attention_interval", default: 4))
    model.ignoredPrefixes = [predictionPrefix]
    model.predictionForm.storedPrefix = predictionPrefix
    try config.refuse("attn_output_gate", unless: { $0 == true }, "attention without a gate is not supported for this family")
    try config.refuse("mamba_ssm_dtype", unless: { $0 == "float32" }, "states are kept in float32")
    try config.refuse("use_sliding_window", unless: { $0 == false }, "windows are not supported for this family")
    return model
  }

  static func sharedExpert(_ config: ConfigReader) throws -> MixtureConfiguration.SharedExpert {
    .init(
      name: "shared_expert", intermediateSize: try config.count("shared_expert_intermediate_size", default: 512),
      isGated: true)
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let parts = projectedTogether(weight, shape, model)
    return predicting(weight, shape, model, parts) ?? parts
  }

  private static func projectedTogether(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    guard let linear = model.linearAttention, let place = projections.firstIndex(of: weight.module) else {
      return gatedOrConvolved(weight, shape, model)
    }
    // One after another for each head of keys.
    let served = linear.valueHeadCount / linear.keyHeadCount
    let values = served * linear.valueDimension
    let widths = place < 4 ? [linear.keyDimension, linear.keyDimension, values, values] : [served, served]
    let index = place % 4
    return [StoredPart(
      weight.inLayer("linear_attn.in_proj_" + (place < 4 ? "qkvz." : "ba.") + weight.leaf),
      [linear.keyHeadCount * widths.reduce(0, +)] + shape.dropFirst(),
      [
        .unflatten(0, [linear.keyHeadCount, widths.reduce(0, +)]),
        .narrow(1, start: widths[..<index].reduce(0, +), length: widths[index]),
      ])]
  }

  private static let projections = ["q", "k", "v", "z", "b", "a"].map { "linear_attn.in_proj_" + $0 }

  /// Of each head the query, then the gate; the convolution of queries, keys and values as one.
  static func gatedOrConvolved(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    if let half = ["self_attn.q_proj", "self_attn.q_gate"].firstIndex(of: weight.module) {
      return [StoredPart(
        weight.inLayer("self_attn.q_proj." + weight.leaf), [2 * shape[0]] + shape.dropFirst(),
        [.unflatten(0, [model.headCount, 2, model.headDimension]), .select(1, half)])]
    }
    return channels("linear_attn.conv1d_", of: "linear_attn.conv1d", weight, shape, model)
  }

  /// Queries, keys and values one above the other.
  static func channels(
    _ prefix: String, of stored: String, _ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration
  ) -> [StoredPart] {
    guard let linear = model.linearAttention, let index = ["q", "k", "v"].firstIndex(where: { weight.module == prefix + $0 })
    else { return [] }
    return [StoredPart(
      weight.inLayer(stored + "." + weight.leaf), [linear.channelCount] + shape.dropFirst(),
      [.narrow(0, start: index * linear.keyHeadCount * linear.keyDimension, length: shape[0])])]
  }

  private static let predictionPrefix = "mtp."
  private static let predictionModules = [
    "enorm": "pre_fc_norm_embedding", "hnorm": "pre_fc_norm_hidden", "eh_proj": "fc", "shared_head.norm": "norm",
  ]

  /// The layer that predicts tokens further on is kept beside the model, and what stands around its block one level higher.
  /// - Parameter parts: as one of the other layers is kept; empty: as it is here.
  /// - Returns: nil: the weight is of none.
  static func predicting(
    _ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration, _ parts: [StoredPart]
  ) -> [StoredPart]? {
    guard let layer = weight.layer, layer >= model.layerCount else { return nil }
    if let module = predictionModules[weight.module] {
      return [StoredPart("\(predictionPrefix)\(module).\(weight.leaf)", shape)]
    }
    return (parts.isEmpty ? [StoredPart(weight.full, shape)] : parts).map { part in
      let place = part.name.dropFirst("model.layers.\(layer)".count)
      return StoredPart("\(predictionPrefix)layers.\(layer - model.layerCount)\(place)", part.shape, part.steps)
    }
  }
}
