/// GPT-NeoX and Pythia (Black et al., 2022): layer norms, a part of each head rotated, feed-forward layers without a gate
/// beside the attention, query, key and value of each head kept one after another; checkpoints of `GPTNeoXForCausalLM`.
enum GptNeoX: ModelFamily {
  static let modelTypes = ["gpt_neox"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let config = config.renaming(["rotary_emb_base": "rope_theta"]).setting("num_key_value_heads", .null)
    var model = try ModelConfiguration(
      common: config, modelType: modelType, partialRotary: config.number("rotary_pct", default: 0.25))
    (model.norm, model.hasGatedFeedForward) = (.layer, false)
    model.keyValueHeadCount = model.headCount
    model.normEpsilon = try config.number("layer_norm_eps", default: 1e-5)
    model.activation = try Activation(named: "hidden_act", of: config, default: "gelu")
    model.hasParallelResidual = try config.flag("use_parallel_residual", default: true)
    model.queryKeyValueBias = try config.flag("attention_bias", default: true)
    (model.outputBias, model.feedForwardBias) = (model.queryKeyValueBias, true)
    model.ignoredSuffixes = [".attention.bias", ".attention.masked_bias"]
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    func part(_ name: String, _ shape: [Int], _ steps: [StoredPart.Step] = []) -> [StoredPart] {
      let place = weight.layer.map { "layers.\($0)." } ?? ""
      return [StoredPart("gpt_neox." + place + name + "." + weight.leaf, shape, steps)]
    }
    func attention(_ index: Int) -> [StoredPart] {
      part(
        "attention.query_key_value", [3 * shape[0]] + shape.dropFirst(),
        [.unflatten(0, [model.headCount, 3, model.headDimension]), .select(1, index)])
    }
    switch weight.module {
    case "model.embed_tokens": return part("embed_in", shape)
    case "lm_head": return [StoredPart("embed_out." + weight.leaf, shape)]
    case "model.norm": return part("final_layer_norm", shape)
    case "input_layernorm", "post_attention_layernorm": return part(weight.module, shape)
    case "self_attn.q_proj": return attention(0)
    case "self_attn.k_proj": return attention(1)
    case "self_attn.v_proj": return attention(2)
    case "self_attn.o_proj": return part("attention.dense", shape)
    case "mlp.fc_in": return part("mlp.dense_h_to_4h", shape)
    case "mlp.fc_out": return part("mlp.dense_4h_to_h", shape)
    default: return []
    }
  }
}
