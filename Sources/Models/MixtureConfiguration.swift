/// The feed-forward layers that are mixtures of experts, of which each token uses a few (Shazeer et al., 2017).
public struct MixtureConfiguration: Sendable, Equatable {
  /// What the router's logits become, to choose and to weigh experts by.
  public enum Score: Sendable, Equatable {
    case softmax
    /// A softmax over the chosen experts alone.
    case softmaxOfChosen
    case sigmoid
  }

  /// Experts stand in groups, and each token chooses from the best groups only (DeepSeek-AI, "DeepSeek-V3", 2024).
  public struct Groups: Sendable, Equatable {
    public var count: Int
    public var chosen: Int
    /// A group is as good as so many of its best experts together.
    public var scoredExperts = 2
  }

  /// A feed-forward layer that every token uses besides.
  public struct SharedExpert: Sendable, Equatable {
    /// Where it stands in the checkpoint, in the layer's `mlp`.
    public var name: String
    public var intermediateSize: Int
    /// Its output is multiplied by the sigmoid of a learned projection.
    public var isGated: Bool
  }

  public var expertCount: Int
  public var expertsPerToken: Int
  /// Of each expert.
  public var intermediateSize: Int
  /// Which layers are mixtures, ascending; the others are dense.
  public var layers: [Int]
  public var score = Score.softmax
  /// Whether the weights of a token's experts are divided by their sum.
  public var normalizesWeights = false
  /// What the weights are multiplied by after that.
  public var weightScale = 1.0
  public var groups: Groups?
  /// A constant for each expert that is added to its score for choosing, not for weighing.
  public var hasChoiceBias = false
  /// Of the logits, learned.
  public var hasRouterBias = false
  /// Of each expert's matrices.
  public var hasExpertBias = false
  public var shared: SharedExpert?

  public init(expertCount: Int, expertsPerToken: Int, intermediateSize: Int, layers: [Int]) {
    (self.expertCount, self.expertsPerToken) = (expertCount, expertsPerToken)
    (self.intermediateSize, self.layers) = (intermediateSize, layers)
  }
}

extension MixtureConfiguration {
  /// The part that Qwen2-MoE and Qwen3-MoE have in common.
  init(qwen config: ConfigReader, layerCount: Int, expertCount: Int) throws {
    let step = try config.count("decoder_sparse_step", default: 1)
    let dense = Set(try config.counts("mlp_only_layers"))
    self.init(
      expertCount: expertCount, expertsPerToken: try config.count("num_experts_per_tok"),
      intermediateSize: try config.count("moe_intermediate_size"),
      layers: (0..<layerCount).filter { !dense.contains($0) && ($0 + 1) % step == 0 })
    normalizesWeights = try config.flag("norm_topk_prob", default: false)
    try check(config)
  }

  /// The part that DeepSeek's and GLM-4-MoE have in common: sizes, dense layers first, weights scaled.
  private init(denseLayersFirst config: ConfigReader, layerCount: Int) throws {
    let dense = try config.number("first_k_dense_replace", default: 0)
    let frequency = try config.count("moe_layer_freq", default: 1)
    self.init(
      expertCount: try config.count("n_routed_experts"), expertsPerToken: try config.count("num_experts_per_tok"),
      intermediateSize: try config.count("moe_intermediate_size"),
      layers: (0..<layerCount).filter { Double($0) >= dense && $0 % frequency == 0 })
    weightScale = try config.number("routed_scaling_factor", default: 1)
  }

  /// The part that DeepSeek-V3 and GLM-4-MoE have in common: sigmoid scores with a bias for choosing, groups, shared
  /// experts as one, dense layers first.
  init(deepseek config: ConfigReader, layerCount: Int) throws {
    try self.init(denseLayersFirst: config, layerCount: layerCount)
    (score, hasChoiceBias) = (.sigmoid, true)
    normalizesWeights = try config.flag("norm_topk_prob", default: true)
    let groupCount = try config.count("n_group", default: 1)
    if groupCount > 1 { groups = Groups(count: groupCount, chosen: try config.count("topk_group")) }
    let sharedCount = try config.number("n_shared_experts", default: 0)
    if sharedCount > 0 {
      shared = SharedExpert(
        name: "shared_experts", intermediateSize: intermediateSize * Int(sharedCount), isGated: false)
    }
    try config.refuse("scoring_func", unless: { $0 == "sigmoid" }, "only sigmoid is supported for this family")
    try config.refuse("topk_method", unless: { $0 == "noaux_tc" }, "only noaux_tc is supported for this family")
    try check(config)
  }

  /// DeepSeek-V2's: softmax scores whose sum is left as it is, groups that are as good as their best expert.
  init(deepseekV2 config: ConfigReader, layerCount: Int) throws {
    try self.init(denseLayersFirst: config, layerCount: layerCount)
    switch try config.text("topk_method", default: "greedy") {
    case "greedy": break
    case "group_limited_greedy":
      groups = Groups(
        count: try config.count("n_group"), chosen: try config.count("topk_group"), scoredExperts: 1)
    case let method:
      throw ModelError("\(config.source) has topk_method = '\(method)'; known for this family are greedy and group_limited_greedy")
    }
    shared = SharedExpert(
      name: "shared_experts", intermediateSize: intermediateSize * (try config.count("n_shared_experts", default: 2)),
      isGated: false)
    try config.refuse("scoring_func", unless: { $0 == "softmax" }, "only softmax is supported for this family")
    try config.refuse("norm_topk_prob", unless: { $0 == false }, "weights that are divided by their sum are not supported for this family")
    try check(config)
  }

  /// Mixtral's and MiniMax-M2's: all layers are mixtures, and weights are divided by their sum.
  init(local config: ConfigReader, layerCount: Int) throws {
    self.init(
      expertCount: try config.count("num_local_experts", default: config.value("num_experts")?.int),
      expertsPerToken: try config.count("num_experts_per_tok"),
      intermediateSize: try config.count("intermediate_size"), layers: Array(0..<layerCount))
    normalizesWeights = true
    try config.refuse("router_jitter_noise", unless: { $0.double == 0 }, "noise in routing is not supported")
    try check(config)
  }

  func check(_ config: ConfigReader) throws {
    guard let groups else {
      guard expertsPerToken <= expertCount else {
        throw ModelError("\(config.source) asks for \(expertsPerToken) experts a token, but there are \(expertCount)")
      }
      return
    }
    guard expertCount % groups.count == 0, groups.chosen <= groups.count,
      expertsPerToken <= groups.chosen * (expertCount / groups.count)
    else {
      throw ModelError(
        "\(config.source) asks for \(expertsPerToken) experts a token from topk_group \(groups.chosen) of n_group "
          + "\(groups.count) groups, which \(expertCount) experts do not make")
    }
  }
}
