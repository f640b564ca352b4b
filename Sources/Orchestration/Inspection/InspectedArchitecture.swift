import Checkpoints
import Models

extension Inspection {
  /// What config.json says of the model's shape.
  public struct Architecture: Sendable, Encodable {
    public var modelType: String
    public var layers: Int
    public var hiddenSize: Int
    public var intermediateSize: Int
    public var vocabularySize: Int
    public var contextLength: Int
    public var heads: Int
    public var keyValueHeads: Int
    public var headDimension: Int
    /// Of the small vector that keys and values come from; nil: there is no latent attention.
    public var latentRank: Int?
    /// Layers of gated delta rule in the place of attention.
    public var linearAttentionLayers: Int
    /// Positions that some layers see, and how many layers do.
    public var window: Int?
    public var windowedLayers: Int
    /// nil: none.
    public var rotaryScaling: String?
    public var tiesEmbeddings: Bool
    public var experts: Experts?
    /// nil: the model takes no pictures.
    public var vision: Vision?
    /// Layers that predict tokens further on: an engine drafts with the first (NEXTN), `--enable-mtp-training` trains them.
    public var predictionLayers: Int
    /// Of the weights, as config.json has it.
    public var dtype: String
    /// nil: linear weights are plain numbers.
    public var quantization: String?

    public struct Vision: Sendable, Encodable {
      public var layers: Int
      public var hiddenSize: Int
      public var patchSize: Int
      /// So many patches a side become one token.
      public var mergeSize: Int
    }

    public struct Experts: Sendable, Encodable {
      public var count: Int
      public var perToken: Int
      public var intermediateSize: Int
      /// Of the expert that all tokens use; nil: there is none.
      public var sharedIntermediateSize: Int?
      public var layers: Int
    }

    init(_ model: ModelConfiguration, _ folder: HuggingFaceFolder) {
      (modelType, layers, hiddenSize) = (model.modelType, model.layerCount, model.hiddenSize)
      (intermediateSize, vocabularySize) = (model.intermediateSize, model.vocabularySize)
      (contextLength, heads) = (model.contextLength, model.headCount)
      (keyValueHeads, headDimension) = (model.keyValueHeadCount, model.headDimension)
      latentRank = model.latentAttention?.keyValueRank
      linearAttentionLayers = model.linearAttention?.layers.count ?? 0
      (window, windowedLayers) = (model.window, model.windowedLayers.count)
      rotaryScaling = model.positions == .rotary ? model.rotary.scaling.name : "learned positions"
      tiesEmbeddings = model.tiesEmbeddings
      experts = model.mixture.map {
        Experts(
          count: $0.expertCount, perToken: $0.expertsPerToken, intermediateSize: $0.intermediateSize,
          sharedIntermediateSize: $0.shared?.intermediateSize, layers: $0.layers.count)
      }
      vision = model.vision.map {
        Vision(layers: $0.depth, hiddenSize: $0.hiddenSize, patchSize: $0.patchSize, mergeSize: $0.mergeSize)
      }
      predictionLayers = model.extraLayerCount
      dtype = (model.dtype ?? .float32).name
      quantization = model.storedQuantization.map { "fp8 (e4m3), \($0.scaling.name)" }
        ?? folder.config["quantization_config"]?["quant_method"]?.string
    }
  }
}
