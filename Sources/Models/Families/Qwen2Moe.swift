/// Qwen1.5-MoE and Qwen2 with mixtures of experts (Qwen Team, 2024): attention as in dense Qwen2, a shared expert with a
/// gate; checkpoints of `Qwen2MoeForCausalLM`.
enum Qwen2Moe: ModelFamily {
  static let modelTypes = ["qwen2_moe"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    var model = try ModelConfiguration(common: config, modelType: modelType)
    if try config.flag("use_sliding_window", default: false) {
      // transformers means every other of the first layers.
      let end = try config.number("max_window_layers", default: 28)
      try model.readWindow(config, default: 4096) { $0 % 2 == 0 && Double($0) < end }
    }
    model.queryKeyValueBias = try config.flag("qkv_bias", default: true)
    var mixture = try MixtureConfiguration(
      qwen: config, layerCount: model.layerCount, expertCount: try config.count("num_experts"))
    mixture.shared = .init(
      name: "shared_expert", intermediateSize: try config.count("shared_expert_intermediate_size"), isGated: true)
    model.mixture = mixture
    return model
  }
}
