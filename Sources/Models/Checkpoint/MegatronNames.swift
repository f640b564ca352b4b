import Checkpoints
import Torch

/// Where a weight stands in a torch_dist checkpoint of Megatron-Core: its keys, and how it lays matrices together.
///
/// Query, key and value of each key-value head stand one after another in `linear_qkv`, with a gate of the output behind
/// the query; the projections and convolutions of a layer of gated delta rule stand by themselves; gate and up are the halves of
/// `linear_fc1`; layers that are alike are one tensor with the layer as its first dimension, experts likewise; layers that
/// predict tokens further on stand in `mtp`. A weight that Megatron-Core has no name for keeps the one that it has here.
public struct MegatronNames {
  /// Some rows of a piece, and the box that they fill in the checkpoint.
  public struct Part {
    /// Without a prefix for optimizer states.
    public let key: String
    public let globalShape: [Int]
    public let box: TensorBox
    /// Of this rank's part of the piece.
    public let rows: Range<Int>
  }

  private let model: ModelConfiguration

  public init(_ model: ModelConfiguration) { self.model = model }

  /// The boxes of this rank's part of a piece.
  public func parts(_ piece: ParameterPiece) -> [Part] {
    let starts = piece.shape.indices.map { dimension in
      piece.slice.flatMap { $0.dimension == dimension ? $0.range(of: piece.shape[dimension]).lowerBound : nil } ?? 0
    }
    /// The whole part in one box; `rows` are where the piece begins in a taller tensor.
    func one(_ key: String, lead: [Lead] = [], shape: [Int]? = nil, from rows: Int = 0) -> [Part] {
      [part(key, lead, shape ?? piece.shape, [starts[0] + rows] + starts.dropFirst(), piece.localShape, 0..<piece.localShape[0])]
    }
    guard let layer = CausalLM.layer(of: piece.checkpointName) else {
      return one(Self.outside[piece.checkpointName] ?? piece.checkpointName)
    }
    let (prefix, lead) = place(layer)
    let name = piece.checkpointName.split(separator: ".").dropFirst(3).joined(separator: ".")
    if layer >= model.layerCount, let leaf = Self.predictionLeaves[name] {
      // Megatron-Core has the embedding's half of the projection first.
      return one(
        model.predictionForm.hiddenIsFirst && name == "eh_proj.weight"
          ? piece.checkpointName : "mtp.layers.\(layer - model.layerCount).\(leaf)")
    }
    if let leaf = leaf(name, layer) { return one(prefix + leaf, lead: lead) }
    let words = name.split(separator: ".").map(String.init)
    let rest = piece.shape.dropFirst()
    if words.count == 3, words[0] == "self_attn", model.latentAttention == nil, let member = HeadMember(rawValue: words[1]) {
      return heads(member, prefix + "self_attention.linear_qkv." + words[2], lead, piece, starts)
    }
    if words.count >= 3, let half = ["gate_proj", "up_proj"].firstIndex(of: words[words.count - 2]),
      let module = feedForward(Array(words.dropLast(2)))
    {
      return one(
        prefix + module.name + ".linear_fc1." + words.last!, lead: lead + module.lead, shape: [2 * piece.shape[0]] + rest,
        from: half * piece.shape[0])
    }
    if words.count >= 3, words[words.count - 2] == "down_proj", let module = feedForward(Array(words.dropLast(2))) {
      return one(prefix + module.name + ".linear_fc2." + words.last!, lead: lead + module.lead)
    }
    return one(piece.checkpointName)
  }

  // MARK: Names

  /// A dimension that stands before the tensor's own, and this one's place in it.
  private struct Lead {
    let index: Int
    let count: Int
  }

  private static let outside = [
    "model.embed_tokens.weight": "embedding.word_embeddings.weight", "lm_head.weight": "output_layer.weight",
    "model.norm.weight": "decoder.final_layernorm.weight",
  ]

  private static let leaves = [
    "input_layernorm.weight": "self_attention.linear_qkv.layer_norm_weight",
    "self_attn.o_proj.weight": "self_attention.linear_proj.weight",
    "self_attn.o_proj.bias": "self_attention.linear_proj.bias",
    "self_attn.q_norm.weight": "self_attention.q_layernorm.weight",
    "self_attn.k_norm.weight": "self_attention.k_layernorm.weight",
    "mlp.gate.weight": "mlp.router.weight", "mlp.gate.e_score_correction_bias": "mlp.router.expert_bias",
    "mlp.shared_expert_gate.weight": "mlp.shared_experts.gate_weight",
    "linear_attn.A_log": "self_attention.A_log", "linear_attn.dt_bias": "self_attention.dt_bias",
    "linear_attn.norm.weight": "self_attention.out_norm.weight",
    "linear_attn.out_proj.weight": "self_attention.out_proj.weight",
  ].merging(
    [("q", "query"), ("k", "key"), ("v", "value"), ("z", "z"), ("b", "beta"), ("a", "alpha")].flatMap { own, other in
      ["in_proj", "conv1d"].map { ("linear_attn.\($0)_\(own).weight", "self_attention.\($0).weight.\(other)") }
    }) { $1 }

  private static let predictionLeaves = [
    "enorm.weight": "enorm.weight", "hnorm.weight": "hnorm.weight", "eh_proj.weight": "eh_proj.weight",
    "shared_head.norm.weight": "final_layernorm.weight",
  ]

  private func isMixture(_ layer: Int) -> Bool {
    let owner = layer < model.layerCount ? model : model.ofPredictionLayers
    return owner.mixture?.layers.contains(layer) ?? false
  }

  private func leaf(_ name: String, _ layer: Int) -> String? {
    if name == "input_layernorm.weight", model.linearAttention?.layers.contains(layer) == true {
      return "self_attention.in_proj.layer_norm_weight"
    }
    guard name == "post_attention_layernorm.weight" else { return Self.leaves[name] }
    // A dense layer's norm is fused into its first matrix.
    return isMixture(layer) ? "pre_mlp_layernorm.weight" : "mlp.linear_fc1.layer_norm_weight"
  }

  /// Layers that differ have names of their own.
  private func place(_ layer: Int) -> (prefix: String, lead: [Lead]) {
    if layer >= model.layerCount { return ("mtp.layers.\(layer - model.layerCount).transformer_layer.", []) }
    let areAlike = model.linearAttention == nil && model.mixture?.layers.count ?? model.layerCount == model.layerCount
    return areAlike
      ? ("decoder.layers.", [Lead(index: layer, count: model.layerCount)]) : ("decoder.layers.\(layer).", [])
  }

  /// `mlp`, `mlp.experts.3`, `mlp.shared_experts`.
  private func feedForward(_ words: [String]) -> (name: String, lead: [Lead])? {
    switch words.count {
    case 1 where words[0] == "mlp": ("mlp", [])
    case 2 where words[1].hasPrefix("shared_expert"): ("mlp.shared_experts", [])
    case 3 where words[1] == "experts":
      Int(words[2]).flatMap { expert in
        model.mixture.map { ("mlp.experts.experts", [Lead(index: expert, count: $0.expertCount)]) }
      }
    default: nil
    }
  }

  // MARK: Boxes

  private func part(
    _ key: String, _ lead: [Lead], _ shape: [Int], _ offsets: [Int], _ sizes: [Int], _ rows: Range<Int>
  ) -> Part {
    Part(
      key: key, globalShape: lead.map(\.count) + shape,
      box: TensorBox(offsets: lead.map(\.index) + offsets, sizes: lead.map { _ in 1 } + sizes), rows: rows)
  }

  private enum HeadMember: String {
    case query = "q_proj"
    case gate = "q_gate"
    case key = "k_proj"
    case value = "v_proj"
  }

  /// For each key-value head its queries, their gates, its key, its value.
  private func heads(
    _ member: HeadMember, _ key: String, _ lead: [Lead], _ piece: ParameterPiece, _ starts: [Int]
  ) -> [Part] {
    let size = model.headDimension
    let queries = model.headCount / model.keyValueHeadCount
    let gated = model.gatesAttention ? 2 * queries : queries
    let (before, perGroup) =
      switch member {
      case .query: (0, queries)
      case .gate: (queries, queries)
      case .key: (gated, 1)
      case .value: (gated + 1, 1)
      }
    let groupRows = (gated + 2) * size
    let shape = [model.keyValueHeadCount * groupRows] + piece.shape.dropFirst()
    let local = piece.localShape
    var result: [Part] = []
    var row = 0
    while row < local[0] {
      let first = starts[0] + row
      let (group, place) = (first / (perGroup * size), first % (perGroup * size))
      let count = min(local[0] - row, perGroup * size - place)
      let target = group * groupRows + before * size + place
      result.append(
        part(key, lead, shape, [target] + starts.dropFirst(), [count] + local.dropFirst(), row..<row + count))
      row += count
    }
    return result
  }
}
