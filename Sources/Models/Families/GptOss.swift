/// GPT-OSS (OpenAI, 2025): attention sinks, a window in every other layer, experts with biases and a clamped SwiGLU, whose
/// gate and up are kept column by column, in bf16 or MXFP4; checkpoints of `GptOssForCausalLM`.
enum GptOss: ModelFamily {
  static let modelTypes = ["gpt_oss"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(
      common: config, modelType: modelType, rotaryBase: 150_000, isMXFP4Known: true)
    model.headDimension = try config.count("head_dim", default: 64)
    model.normEpsilon = try config.number("rms_norm_eps", default: 1e-5)
    model.queryKeyValueBias = try config.flag("attention_bias", default: true)
    model.outputBias = model.queryKeyValueBias
    model.hasAttentionSinks = true
    try model.readWindow(config, default: config.json["sliding_window"] == nil ? 128 : nil) { $0 % 2 == 0 }
    guard model.activation == .silu else {
      throw ModelError("\(config.source) has hidden_act = \(config.value("hidden_act")?.text() ?? ""): only silu is supported for this family")
    }
    model.activation = .clampedSwish(
      alpha: try config.number("swiglu_alpha", default: 1.702), limit: try config.number("swiglu_limit", default: 7))
    let perToken = try config.count("num_experts_per_tok", default: config.value("experts_per_token")?.int)
    var mixture = MixtureConfiguration(
      expertCount: try config.count("num_local_experts"), expertsPerToken: perToken,
      intermediateSize: model.intermediateSize, layers: Array(0..<model.layerCount))
    mixture.score = .softmaxOfChosen
    (mixture.hasRouterBias, mixture.hasExpertBias) = (true, true)
    try mixture.check(config)
    model.mixture = mixture
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    if weight.module == "mlp.gate" { return [StoredPart(weight.inLayer("mlp.router." + weight.leaf), shape)] }
    guard let expert = weight.expert, let mixture = model.mixture else { return [] }
    let (experts, hidden, inner) = (mixture.expertCount, model.hiddenSize, mixture.intermediateSize)
    let isBias = weight.leaf == "bias"
    func part(_ name: String, _ inputs: Int, _ outputs: Int, _ steps: [StoredPart.Step]) -> [StoredPart] {
      [StoredPart(
        weight.inLayer("mlp.experts." + name + (isBias ? "_bias" : "")), isBias ? [experts, outputs] : [experts, inputs, outputs],
        [.select(0, expert)] + (isBias ? [] : [.transpose]) + steps)]
    }
    switch weight.module {
    case "mlp.experts.gate_proj": return part("gate_up_proj", hidden, 2 * inner, [.every(0, start: 0, step: 2)])
    case "mlp.experts.up_proj": return part("gate_up_proj", hidden, 2 * inner, [.every(0, start: 1, step: 2)])
    default: return part("down_proj", inner, hidden, [])
    }
  }
}
