import JSON

/// A flag that says how the model is built, as Megatron wants to be told. config.json knows; the two must agree.
public struct ArchitectureClaim: Sendable, Equatable, Codable {
  public var flag: String
  /// nil: a switch.
  public var value: String?

  public init(flag: String, value: String? = nil) { (self.flag, self.value) = (flag, value) }

  /// - Parameter config: config.json's object.
  /// - Throws: when `config` says otherwise.
  public func check(against config: JSONValue) throws(ConfigurationError) {
    guard let known = ArchitectureFlag.named[flag] else { return }
    let written = "--\(flag)" + (value.map { " \($0)" } ?? "")
    let text = config["text_config"] ?? config
    guard let expected = known.expected(text), !expected.isNull else {
      throw ConfigurationError("\(written) contradicts config.json, which has no \(known.key); leave the flag out")
    }
    guard !agrees(with: expected) else { return }
    throw ConfigurationError(
      "\(written) contradicts config.json, where \(known.key) is \(expected.text()); leave the flag out")
  }

  private func agrees(with expected: JSONValue) -> Bool {
    guard let value else { return expected == .bool(true) }
    if let number = expected.double { return Double(value) == number }
    return expected.string == value
  }
}

/// An architecture flag, and where config.json says the same.
public struct ArchitectureFlag: Sendable {
  public var name: String
  public var isSwitch: Bool
  /// What config.json calls it.
  var key: String
  /// The value for which the flag agrees; `true` for a switch.
  var expected: @Sendable (JSONValue) -> JSONValue?

  private init(_ name: String, _ key: String, _ expected: (@Sendable (JSONValue) -> JSONValue?)? = nil) {
    (self.name, self.key, isSwitch) = (name, key, false)
    self.expected = expected ?? { $0[key] }
  }

  private init(switch name: String, _ key: String, _ holds: @escaping @Sendable (JSONValue) -> Bool) {
    (self.name, self.key, isSwitch) = (name, key, true)
    expected = { .bool(holds($0)) }
  }

  public static let all: [ArchitectureFlag] = [
    .init("num-layers", "num_hidden_layers"),
    .init("hidden-size", "hidden_size"),
    .init("ffn-hidden-size", "intermediate_size"),
    .init("num-attention-heads", "num_attention_heads"),
    .init("num-query-groups", "num_key_value_heads") { $0["num_key_value_heads"] ?? $0["num_attention_heads"] },
    .init("kv-channels", "head_dim") { config in
      if let dimension = config["head_dim"], !dimension.isNull { return dimension }
      guard let size = config["hidden_size"]?.int, let heads = config["num_attention_heads"]?.int, heads > 0 else { return nil }
      return .int(size / heads)
    },
    .init("vocab-size", "vocab_size"),
    .init("padded-vocab-size", "vocab_size"),
    .init("max-position-embeddings", "max_position_embeddings"),
    .init("rotary-base", "rope_theta") { $0["rope_parameters"]?["rope_theta"] ?? $0["rope_theta"] ?? 10000 },
    .init("rotary-percent", "partial_rotary_factor") { config in
      let isHybrid = config["linear_num_key_heads"] != nil
      return config["rope_parameters"]?["partial_rotary_factor"] ?? config["partial_rotary_factor"] ?? (isHybrid ? 0.25 : 1)
    },
    .init("norm-epsilon", "rms_norm_eps"),
    .init("layernorm-epsilon", "rms_norm_eps"),
    .init("normalization", "normalization") { isGPT($0) ? "LayerNorm" : "RMSNorm" },
    .init("position-embedding-type", "position embedding") { $0["model_type"] == "gpt2" ? "learned_absolute" : "rope" },
    .init("num-experts", "num_experts") { $0["num_experts"] ?? $0["num_local_experts"] ?? $0["n_routed_experts"] },
    .init("moe-router-topk", "num_experts_per_tok"),
    .init("mtp-num-layers", "num_nextn_predict_layers") { $0["num_nextn_predict_layers"] ?? $0["mtp_num_hidden_layers"] },
    .init("moe-ffn-hidden-size", "moe_intermediate_size"),
    .init("moe-shared-expert-intermediate-size", "shared_expert_intermediate_size"),
    .init(switch: "swiglu", "hidden_act silu") { $0["hidden_act"] == "silu" },
    .init(switch: "disable-bias-linear", "a model without MLP bias") { $0["mlp_bias"] != true && !isGPT($0) },
    .init(switch: "add-qkv-bias", "attention bias") {
      $0["model_type"] == "qwen2" || $0["attention_bias"] == true || isGPT($0)
    },
    .init(switch: "qk-layernorm", "query and key norms") {
      $0["model_type"]?.string?.hasPrefix("qwen3") == true || $0["model_type"] == "gemma3_text" || $0["model_type"] == "minimax_m2"
        || $0["use_qk_norm"] == true
    },
    .init(switch: "untie-embeddings-and-output-weights", "tie_word_embeddings false") { $0["tie_word_embeddings"] != true },
    .init(switch: "group-query-attention", "num_key_value_heads") { $0["num_key_value_heads"]?.int != nil },
    .init(switch: "use-rotary-position-embeddings", "rotary position embedding") { $0["model_type"] != "gpt2" },
    .init(switch: "use-rope-scaling", "rope_scaling") { $0["rope_scaling"]?.object != nil },
  ]

  private static func isGPT(_ config: JSONValue) -> Bool { ["gpt2", "gpt_neox"].contains(config["model_type"]?.string) }

  static let named = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
