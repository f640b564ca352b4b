import Torch

/// The shape of a decoder-only transformer, as its family reads it from config.json.
public struct ModelConfiguration: Sendable, Equatable {
  public var modelType: String
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  /// Heads of keys and values; each serves `headCount / keyValueHeadCount` query heads.
  public var keyValueHeadCount: Int
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
  /// The type the checkpoint says it was saved in.
  public var dtype: DType?
  /// For fresh weights.
  public var initializerRange = 0.02
}

extension ModelConfiguration {
  /// What Llama, Qwen2 and Qwen3 have in common, with Hugging Face's names and defaults.
  init(common config: ConfigReader, modelType: String) throws {
    self.modelType = modelType
    hiddenSize = try config.count("hidden_size")
    headCount = try config.count("num_attention_heads")
    keyValueHeadCount = try config.count("num_key_value_heads", default: headCount)
    if config.value("head_dim") == nil, hiddenSize % headCount != 0 {
      throw ModelError(
        "\(config.source) has hidden_size \(hiddenSize), which num_attention_heads \(headCount) does not divide; it needs head_dim")
    }
    headDimension = try config.count("head_dim", default: hiddenSize / headCount)
    guard headCount % keyValueHeadCount == 0 else {
      throw ModelError(
        "\(config.source) has num_attention_heads \(headCount), not a multiple of num_key_value_heads \(keyValueHeadCount)")
    }
    guard headDimension % 2 == 0 else {
      throw ModelError("\(config.source) has heads of dimension \(headDimension); rotary embedding needs an even one")
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
    try config.refuse("quantization_config", unless: { _ in false }, "quantised checkpoints are not supported yet")
    try config.refuse(
      "partial_rotary_factor", unless: { $0.double == 1 }, "partial rotary embedding is not supported for \(modelType)")
    if try config.flag("use_sliding_window", default: false) {
      throw ModelError("\(config.source) has use_sliding_window = true; sliding-window attention is not supported yet")
    }
  }
}
