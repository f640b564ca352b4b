/// GPT-2 (Radford et al., 2019): layer norms, learned positions, feed-forward layers without a gate, matrices kept
/// transposed; checkpoints of `GPT2LMHeadModel`.
enum Gpt2: ModelFamily {
  static let modelTypes = ["gpt2"]

  static func configuration(_ config: ConfigReader, modelType: String) throws -> ModelConfiguration {
    let config = config.renaming([
      "n_embd": "hidden_size", "n_head": "num_attention_heads", "n_layer": "num_hidden_layers", "n_inner": "intermediate_size",
      "n_positions": "max_position_embeddings", "layer_norm_epsilon": "layer_norm_eps",
    ])
    let size = try config.count("hidden_size")
    let inner = try config.count("intermediate_size", default: 4 * size)
    var model = try ModelConfiguration(
      common: config.setting("intermediate_size", .int(inner)), modelType: modelType, headDimension: size / config.count("num_attention_heads"))
    guard model.headDimension * model.headCount == size else {
      throw ModelError("\(config.source) has n_embd \(size), which n_head \(model.headCount) does not divide")
    }
    (model.norm, model.positions, model.hasGatedFeedForward) = (.layer, .learned, false)
    model.normEpsilon = try config.number("layer_norm_eps", default: 1e-5)
    model.activation = try Activation(named: "activation_function", of: config, default: "gelu_new")
    model.tiesEmbeddings = try config.flag("tie_word_embeddings", default: true)
    (model.queryKeyValueBias, model.outputBias, model.feedForwardBias) = (true, true, true)
    if try !config.flag("scale_attn_weights", default: true) { model.scoreDivisor = 1 }
    model.dividesScoresByLayer = try config.flag("scale_attn_by_inverse_layer_idx", default: false)
    model.ignoredSuffixes = [".attn.bias", ".attn.masked_bias"]
    try config.refuse("add_cross_attention", unless: { $0 == false }, "there is no encoder to look at")
    return model
  }

  static func stored(_ weight: WeightName, _ shape: [Int], _ model: ModelConfiguration) -> [StoredPart] {
    let size = model.hiddenSize
    /// Models were published with and without the first word.
    func part(_ name: String, _ shape: [Int], _ steps: [StoredPart.Step] = []) -> [StoredPart] {
      let place = (weight.layer.map { "h.\($0)." } ?? "") + name + "." + weight.leaf
      return ["transformer." + place, place].map { StoredPart($0, shape, steps) }
    }
    func transposed(_ name: String) -> [StoredPart] {
      shape.count == 1 ? part(name, shape) : part(name, shape.reversed(), [.transpose])
    }
    func attention(_ index: Int) -> [StoredPart] {
      let columns = StoredPart.Step.narrow(shape.count - 1, start: index * size, length: size)
      return shape.count == 1
        ? part("attn.c_attn", [3 * size], [columns]) : part("attn.c_attn", [size, 3 * size], [columns, .transpose])
    }
    switch weight.module {
    case "model.embed_tokens": return part("wte", shape)
    case "model.embed_positions": return part("wpe", shape)
    case "model.norm": return part("ln_f", shape)
    case "input_layernorm": return part("ln_1", shape)
    case "post_attention_layernorm": return part("ln_2", shape)
    case "self_attn.q_proj": return attention(0)
    case "self_attn.k_proj": return attention(1)
    case "self_attn.v_proj": return attention(2)
    case "self_attn.o_proj": return transposed("attn.c_proj")
    case "mlp.fc_in": return transposed("mlp.c_fc")
    case "mlp.fc_out": return transposed("mlp.c_proj")
    default: return []
    }
  }
}
