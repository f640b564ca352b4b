import Torch

/// The shape of a decoder-only transformer, as its family reads it from config.json.
public struct ModelConfiguration: Sendable, Equatable {
  public var modelType: String
  public var vocabularySize: Int
  public var hiddenSize: Int
  /// Of the dense feed-forward layers.
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  /// Heads of keys and values; each serves `headCount / keyValueHeadCount` query heads.
  public var keyValueHeadCount: Int
  /// Of queries and keys, and where nothing else is said of values.
  public var headDimension: Int
  public var normEpsilon: Double
  public var rotary: RotaryConfiguration
  /// Most positions that the model was made for.
  public var contextLength: Int
  /// Whether the head uses the embedding's weights.
  public var tiesEmbeddings: Bool
  public var queryKeyValueBias = false
  public var outputBias = false
  public var feedForwardBias = false
  /// RMS norm of each query and key head.
  public var queryKeyNorm = false
  /// Dimensions of each head that are rotated by the position; nil: all.
  public var rotatedDimension: Int?
  /// nil: all feed-forward layers are dense.
  public var mixture: MixtureConfiguration?
  /// nil: plain multi-head or grouped-query attention.
  public var latentAttention: LatentAttentionConfiguration?
  /// Layers after the last that predict tokens further on; checkpoints may hold them.
  public var extraLayerCount = 0
  /// Whether the first of them is built; otherwise they are left aside. Not of config.json.
  public private(set) var hasPredictionLayer = false
  /// The type the checkpoint says it was saved in.
  public var dtype: DType?
  /// Which linear weights the checkpoint holds as e4m3; nil: none.
  public var storedQuantization: Float8Scheme?
  /// Which linear weights the model computes with as e4m3; nil: none. Not of config.json: an engine chooses it.
  public var quantization: Float8Scheme?
  /// For fresh weights.
  public var initializerRange = 0.02
  /// What builds the model in the place of its family. Not of config.json.
  public internal(set) var provider: NamedModelProvider?
  /// What the last layer's output becomes. Not of config.json: the trainer of a critic chooses it.
  public var head = ModelHead.vocabulary
}

/// What stands on top of the final norm.
public enum ModelHead: Sendable, Equatable {
  /// Logits of the next token.
  case vocabulary
  /// One number a token: a critic's.
  case value
}

extension ModelConfiguration {
  /// The same with the first layer that predicts tokens further on.
  /// - Throws: `ModelError`: there is none.
  public func withPredictionLayer() throws -> ModelConfiguration {
    guard extraLayerCount > 0 else {
      throw ModelError(
        "this model of type \(modelType) has no layer that predicts tokens further on: its config.json has no "
          + "num_nextn_predict_layers")
    }
    var own = self
    own.hasPredictionLayer = true
    return own
  }

  /// Of each value head.
  public var valueHeadDimension: Int { latentAttention?.valueDimension ?? headDimension }

  /// What products of queries and keys are multiplied by.
  public var attentionScale: Double {
    let plain = 1 / Double(headDimension).squareRoot()
    guard latentAttention != nil, case .yarn(let yarn) = rotary.scaling else { return plain }
    return plain * yarn.latentAttentionFactor
  }

  /// Width of the feed-forward layers that a token passes, the mean over layers.
  public var activeIntermediateSize: Int {
    guard let mixture else { return intermediateSize }
    let active = mixture.expertsPerToken * mixture.intermediateSize + (mixture.shared?.intermediateSize ?? 0)
    return (mixture.layers.count * active + (layerCount - mixture.layers.count) * intermediateSize) / layerCount
  }

  /// What decoder-only families have in common, with Hugging Face's names and defaults.
  /// - Parameters:
  ///   - headDimension: nil: `head_dim`, or what is left for each head.
  ///   - partialRotary: whether `partial_rotary_factor` is known; otherwise it must be 1.
  public init(common config: ConfigReader, modelType: String, headDimension: Int? = nil, partialRotary: Bool = false) throws {
    self.modelType = modelType
    hiddenSize = try config.count("hidden_size")
    headCount = try config.count("num_attention_heads")
    keyValueHeadCount = try config.count("num_key_value_heads", default: headCount)
    if headDimension == nil, config.value("head_dim") == nil, hiddenSize % headCount != 0 {
      throw ModelError(
        "\(config.source) has hidden_size \(hiddenSize), which num_attention_heads \(headCount) does not divide; it needs head_dim")
    }
    self.headDimension = try headDimension ?? config.count("head_dim", default: hiddenSize / headCount)
    guard headCount % keyValueHeadCount == 0 else {
      throw ModelError(
        "\(config.source) has num_attention_heads \(headCount), not a multiple of num_key_value_heads \(keyValueHeadCount)")
    }
    guard headDimension != nil || self.headDimension % 2 == 0 else {
      throw ModelError("\(config.source) has heads of dimension \(self.headDimension); rotary embedding needs an even one")
    }
    vocabularySize = try config.count("vocab_size")
    intermediateSize = try config.count("intermediate_size")
    layerCount = try config.count("num_hidden_layers")
    normEpsilon = try config.number("rms_norm_eps", default: 1e-6)
    contextLength = try config.count("max_position_embeddings", default: 2048)
    tiesEmbeddings = try config.flag("tie_word_embeddings", default: false)
    initializerRange = try config.number("initializer_range", default: 0.02)
    rotary = try RotaryConfiguration(config, contextLength: contextLength)
    let name = try config.text("dtype", default: config.text("torch_dtype", default: "float32"))
    guard let dtype = DType(name: name), dtype.isFloatingPoint else {
      throw ModelError("\(config.source) has dtype '\(name)', which is not a floating-point type known here")
    }
    self.dtype = dtype
    try config.refuse("hidden_act", unless: { $0 == "silu" }, "only silu is supported for \(modelType)")
    storedQuantization = try config.quantization()
    try config.refuse(
      "partial_rotary_factor", unless: { partialRotary || $0.double == 1 },
      "partial rotary embedding is not supported for \(modelType)")
    if try config.flag("use_sliding_window", default: false) {
      throw ModelError("\(config.source) has use_sliding_window = true; sliding-window attention is not supported yet")
    }
  }
}
