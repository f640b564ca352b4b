/// Phi-3, 3.5 and 4 (Microsoft, 2024): Llama whose query, key and value, and gate and up, are kept as one matrix; sliding
/// windows, partial rotary positions and LongRoPE where config.json says so; checkpoints of `Phi3ForCausalLM`.
enum Phi3: ModelFamily {
  static let modelTypes = ["phi3"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType, partialRotary: 1)
    model.normEpsilon = try config.number("rms_norm_eps", default: 1e-5)
    try model.readWindow(config) { _ in true }
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let (queries, keys) = (model.headCount * model.headDimension, model.keyValueHeadCount * model.headDimension)
    let total = queries + 2 * keys
    func rows(_ name: String, of count: Int, from start: Int) -> [StoredPart] {
      [StoredPart(
        weight.inLayer(name + "." + weight.leaf), [count] + shape.dropFirst(),
        [.narrow(0, start: start, length: shape[0])])]
    }
    switch weight.module {
    case "self_attn.q_proj": return rows("self_attn.qkv_proj", of: total, from: 0)
    case "self_attn.k_proj": return rows("self_attn.qkv_proj", of: total, from: queries)
    case "self_attn.v_proj": return rows("self_attn.qkv_proj", of: total, from: queries + keys)
    default: return gateUp(weight, shape)
    }
  }

  /// Gate and up of a dense layer, one above the other.
  static func gateUp(_ weight: WeightName, _ shape: [Int]) -> [StoredPart] {
    guard let half = ["mlp.gate_proj", "mlp.up_proj"].firstIndex(of: weight.module) else { return [] }
    return [StoredPart(
      weight.inLayer("mlp.gate_up_proj." + weight.leaf), [2 * shape[0]] + shape.dropFirst(),
      [.narrow(0, start: half * shape[0], length: shape[0])])]
  }
}
