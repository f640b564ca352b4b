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
  /// Most positions that the model was made for; where rotary frequencies depend on the length, the original ones.
  public var contextLength: Int
  /// Whether the head uses the embedding's weights.
  public var tiesEmbeddings: Bool
  public var queryKeyValueBias = false
  public var outputBias = false
  public var feedForwardBias = false
  public var norm = NormKind.rms
  /// nil: queries and keys are not normed.
  public var queryKeyNorm: QueryKeyNorm?
  public var activation = Activation.silu
  /// down(activation(gate(x)) · up(x)); otherwise down(activation(up(x))).
  public var hasGatedFeedForward = true
  /// nil: what attention and feed-forward say is added as it is.
  public var sandwichNorms: SandwichNorms?
  /// Attention and feed-forward see the same input.
  public var hasParallelResidual = false
  public var positions = PositionKind.rotary
  /// Whether the pairs that are rotated together stand side by side in a head.
  public var rotaryIsInterleaved = false
  /// Of the layers with a window, where theirs is another.
  public var windowedRotary: RotaryConfiguration?
  /// Positions that a query sees, its own the last of them, in the layers that `windowedLayers` names.
  public var window: Int?
  public var windowedLayers: Set<Int> = []
  /// Of attention scores and of the head's logits: x becomes cap · tanh(x / cap).
  public var attentionSoftCap: Double?
  public var logitSoftCap: Double?
  /// A learned score for each head that takes its part of the softmax.
  public var hasAttentionSinks = false
  /// Scores are divided by this one's square root; nil: by the head dimension's.
  public var scoreDivisor: Double?
  /// Scores are divided by the layer's number, counted from 1, too.
  public var dividesScoresByLayer = false
  /// Embeddings are multiplied by √hiddenSize.
  public var scalesEmbeddings = false
  /// Dimensions of each head that are rotated by the position; nil: all.
  public var rotatedDimension: Int?
  /// nil: positions have one axis.
  public var multimodalRotary: MultimodalRotary?
  /// nil: the model takes no pictures.
  public var vision: VisionConfiguration?
  /// nil: all feed-forward layers are dense.
  public var mixture: MixtureConfiguration?
  /// nil: plain multi-head or grouped-query attention.
  public var latentAttention: LatentAttentionConfiguration?
  /// nil: all layers have attention.
  public var linearAttention: LinearAttentionConfiguration?
  /// What attention says is multiplied by the sigmoid of a gate that the queries' projection gives besides.
  public var gatesAttention = false
  /// Layers after the last that predict tokens further on; checkpoints may hold them.
  public var extraLayerCount = 0
  /// How many of them are built; the others are left aside. Not of config.json.
  public private(set) var predictionLayerCount = 0
  public var predictionForm = PredictionForm()
  /// Tensors of checkpoints that are no weights of the model: ends and beginnings of names.
  public var ignoredSuffixes: [String] = []
  public var ignoredPrefixes: [String] = []
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

/// What of a query or key is normed together.
public enum QueryKeyNorm: Sendable, Equatable {
  case perHead
  case acrossHeads
}

/// How the model knows where a token stands.
public enum PositionKind: Sendable, Equatable {
  case rotary
  /// By a learned vector for each position that is added to the embedding.
  case learned
}

/// Norms of what attention and feed-forward say; names in a layer of the checkpoint.
public struct SandwichNorms: Sendable, Equatable {
  public var attentionOutput: String
  public var feedForwardInput: String
  public var feedForwardOutput: String
}

/// What stands on top of the final norm.
public enum ModelHead: Sendable, Equatable {
  /// Logits of the next token.
  case vocabulary
  /// One number a token: a critic's.
  case value
}

extension ModelConfiguration {
  /// The same with layers that predict tokens further on: the first ones; nil: all.
  /// - Throws: `ModelError`: there is none.
  public func withPredictionLayers(_ count: Int? = nil) throws -> ModelConfiguration {
    guard extraLayerCount > 0 else {
      throw ModelError(
        "this model of type \(modelType) has no layer that predicts tokens further on: its config.json has no "
          + "num_nextn_predict_layers")
    }
    var own = self
    own.predictionLayerCount = min(count ?? extraLayerCount, extraLayerCount)
    return own
  }

  /// The same where sequences may have so many tokens: past the original context of rotary frequencies that depend on the length,
  /// all sequences have those of this one from their first token on, as in vLLM, so that keys can be kept while they grow.
  /// - Parameter context: nil: what config.json says.
  public func reaching(_ context: Int?) -> ModelConfiguration {
    guard let context, let original = rotary.originalContext, context > original else { return self }
    var own = self
    (own.rotary.fixedLength, own.contextLength) = (context, context)
    return own
  }

  /// Of each value head.
  public var valueHeadDimension: Int { latentAttention?.valueDimension ?? headDimension }

  /// Layers whose keys and values are looked at by later tokens.
  public var attentionLayers: [Int] { (0..<layerCount).filter { linearAttention?.layers.contains($0) != true } }

  /// What products of queries and keys are multiplied by.
  public func attentionScale(layer: Int) -> Double {
    let plain = 1 / (scoreDivisor ?? Double(headDimension)).squareRoot() / (dividesScoresByLayer ? Double(layer + 1) : 1)
    guard latentAttention != nil, case .yarn(let yarn) = rotary.scaling else { return plain }
    return plain * yarn.latentAttentionFactor
  }

  /// What is special about a layer's attention.
  /// - Parameter sinks: this rank's.
  func attentionRule(layer: Int, sinks: Tensor?) -> AttentionRule {
    AttentionRule(window: windowedLayers.contains(layer) ? window : nil, softCap: attentionSoftCap, sinks: sinks)
  }

  /// The longest sequence that the model can be given at all; nil: positions go on past `contextLength`.
  public var sequenceLimit: Int? { positions == .learned ? contextLength : nil }

  /// Width of the feed-forward layers that a token passes, the mean over layers.
  public var activeIntermediateSize: Int {
    guard let mixture else { return intermediateSize }
    let active = mixture.expertsPerToken * mixture.intermediateSize + (mixture.shared?.intermediateSize ?? 0)
    return (mixture.layers.count * active + (layerCount - mixture.layers.count) * intermediateSize) / layerCount
  }

  /// What decoder-only families have in common, with Hugging Face's names and defaults.
  /// - Parameters:
  ///   - headDimension: nil: `head_dim`, or what is left for each head.
  ///   - rotaryBase: where config.json says nothing.
  ///   - partialRotary: the part of each head that is rotated where config.json says nothing; nil: `partial_rotary_factor`
  ///     is not known and must be 1.
  ///   - isMXFP4Known: whether checkpoints in MXFP4 can be read.
  public init(
    common config: ConfigReader, modelType: String, headDimension: Int? = nil, rotaryBase: Double = 10_000,
    partialRotary: Double? = nil, isMXFP4Known: Bool = false
  ) throws {
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
    rotary = try RotaryConfiguration(config, contextLength: contextLength, base: rotaryBase)
    if let limit = rotary.originalContext { contextLength = min(contextLength, limit) }
    let name = try config.text("dtype", default: config.text("torch_dtype", default: "float32"))
    guard let dtype = DType(name: name), dtype.isFloatingPoint else {
      throw ModelError("\(config.source) has dtype '\(name)', which is not a floating-point type known here")
    }
    self.dtype = dtype
    activation = try Activation(named: "hidden_act", of: config)
    storedQuantization = try config.quantization()
    try config.refuse(
      "quantization_config", unless: { isMXFP4Known || $0["quant_method"]?.string != "mxfp4" },
      "checkpoints in MXFP4 are not supported for \(modelType)")
    let factor = try config.value("rope_parameters")?["partial_rotary_factor"]?.double
      ?? config.number("partial_rotary_factor", default: partialRotary ?? 1)
    guard partialRotary != nil || factor == 1 else {
      throw ModelError(
        "\(config.source) has partial_rotary_factor = \(factor): partial rotary embedding is not supported for \(modelType)")
    }
    // Latent attention has dimensions of its own for it.
    guard headDimension == nil, factor != 1 else { return }
    let rotated = Int(Double(self.headDimension) * factor)
    guard rotated > 0, rotated <= self.headDimension, rotated % 2 == 0 else {
      throw ModelError(
        "\(config.source) has a partial_rotary_factor that rotates \(rotated) of \(self.headDimension) dimensions; it must be an even number of them")
    }
    rotatedDimension = rotated
  }

  /// Reads `sliding_window`, and which layers have it: those that `layer_types` says, or that the family means.
  mutating func readWindow(_ config: ConfigReader, default size: Int? = nil, _ isWindowed: (Int) -> Bool) throws {
    guard config.value("sliding_window") != nil || size != nil else { return }
    window = try config.count("sliding_window", default: size)
    let types = config.value("layer_types")?.array
    if let types, types.count != layerCount {
      throw ModelError("\(config.source) has layer_types of \(types.count) layers, but num_hidden_layers is \(layerCount)")
    }
    for layer in 0..<layerCount {
      switch types?[layer].string {
      case nil: if isWindowed(layer) { windowedLayers.insert(layer) }
      case "sliding_attention": windowedLayers.insert(layer)
      case "full_attention": break
      case let other?: throw ModelError("\(config.source) has a layer of type '\(other)' in layer_types; known are full_attention and sliding_attention")
      }
    }
  }
}
