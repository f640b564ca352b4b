/// Mixtral (Jiang et al., 2024): Mistral with mixtures of experts; checkpoints of `MixtralForCausalLM`.
enum Mixtral: ModelFamily {
  static let modelTypes = ["mixtral"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType, rotaryBase: 1e6)
    model.normEpsilon = try config.number("rms_norm_eps", default: 1e-5)
    try model.readWindow(config) { _ in true }
    model.mixture = try MixtureConfiguration(local: config, layerCount: model.layerCount)
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    switch (weight.expert, weight.module) {
    case (let expert?, let module):
      let matrices = ["gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"]
      let matrix = matrices[String(module.split(separator: ".").last!)]!
      return [StoredPart(weight.inLayer("block_sparse_moe.experts.\(expert).\(matrix).\(weight.leaf)"), shape)]
    case (nil, "mlp.gate"):
      let isBias = weight.leaf == Router.choiceBiasName
      return [StoredPart(weight.inLayer("block_sparse_moe." + (isBias ? "" : "gate.") + weight.leaf), shape)]
    default: return []
    }
  }
}
