import JSON
import Orchestration
import Testing

/// config.json of Qwen3-0.6B, as published, less what no flag speaks of.
private let qwen3: JSONValue = [
  "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "head_dim": 128, "hidden_act": "silu",
  "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960, "model_type": "qwen3",
  "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8, "rms_norm_eps": 1e-06,
  "rope_scaling": nil, "rope_theta": 1_000_000, "tie_word_embeddings": true, "vocab_size": 151936,
]

@Suite struct ArchitectureClaimTests {
  /// The flags of slime's scripts/models/qwen3-0.6B.sh.
  @Test(arguments: [
    ArchitectureClaim(flag: "num-layers", value: "28"), .init(flag: "hidden-size", value: "1024"),
    .init(flag: "ffn-hidden-size", value: "3072"), .init(flag: "num-attention-heads", value: "16"),
    .init(flag: "group-query-attention"), .init(flag: "num-query-groups", value: "8"),
    .init(flag: "use-rotary-position-embeddings"), .init(flag: "disable-bias-linear"),
    .init(flag: "normalization", value: "RMSNorm"), .init(flag: "norm-epsilon", value: "1e-6"),
    .init(flag: "rotary-base", value: "1000000"), .init(flag: "vocab-size", value: "151936"),
    .init(flag: "kv-channels", value: "128"), .init(flag: "qk-layernorm"), .init(flag: "swiglu"),
  ]) func agreeing(_ claim: ArchitectureClaim) throws {
    try claim.check(against: qwen3)
    try claim.check(against: ["text_config": qwen3])
  }

  @Test(arguments: [
    (ArchitectureClaim(flag: "num-layers", value: "24"), "num_hidden_layers is 28"),
    (.init(flag: "kv-channels", value: "64"), "head_dim is 128"),
    (.init(flag: "rotary-base", value: "10000"), "rope_theta is 1000000"),
    (.init(flag: "rotary-percent", value: "0.5"), "partial_rotary_factor is 1"),
    (.init(flag: "norm-epsilon", value: "many"), "rms_norm_eps is"),
    (.init(flag: "untie-embeddings-and-output-weights"), "tie_word_embeddings"),
    (.init(flag: "add-qkv-bias"), "attention bias"), (.init(flag: "use-rope-scaling"), "rope_scaling"),
    (.init(flag: "num-experts", value: "8"), "no num_experts"), (.init(flag: "normalization", value: "LayerNorm"), "RMSNorm"),
  ]) func contradicting(_ claim: ArchitectureClaim, _ reason: String) throws {
    let error = try #require(throws: ConfigurationError.self) { try claim.check(against: qwen3) }
    #expect(error.description.hasPrefix("--\(claim.flag)") && error.description.contains(reason), "\(error)")
  }

  @Test func headSizeAndRopeBaseAreDerived() throws {
    let config: JSONValue = ["hidden_size": 64, "num_attention_heads": 4, "rope_parameters": ["rope_theta": 500.0]]
    try ArchitectureClaim(flag: "kv-channels", value: "16").check(against: config)
    try ArchitectureClaim(flag: "num-query-groups", value: "4").check(against: config)
    try ArchitectureClaim(flag: "rotary-base", value: "5e2").check(against: config)
  }

  @Test func predictionLayersAreCounted() throws {
    let claim = ArchitectureClaim(flag: "mtp-num-layers", value: "1")
    try claim.check(against: ["num_nextn_predict_layers": 1])
    let error = #expect(throws: ConfigurationError.self) { try claim.check(against: ["num_nextn_predict_layers": 2]) }
    #expect("\(error!)".contains("num_nextn_predict_layers is 2"))
    #expect(throws: ConfigurationError.self) { try claim.check(against: qwen3) }
  }
}
