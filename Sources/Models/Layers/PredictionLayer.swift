import Checkpoints
import Parallelism
import Torch

/// A layer after the last one that predicts a token further on than the next (multi-token prediction: DeepSeek-AI,
/// "DeepSeek-V3", 2024; GLM-4.5, MiMo, Qwen3-Next and Qwen3.5 have it too): from what was made of a token and a token that
/// follows it. Embedding and output layer are the model's own.
public struct PredictionLayer {
  private let embeddingNorm: any Norm
  private let hiddenNorm: any Norm
  private let projection: ReplicatedLinear
  private let block: any DecoderBlock
  private let norm: any Norm
  private let hiddenIsFirst: Bool

  /// - Parameters:
  ///   - scope: that of the layer after the last.
  ///   - block: its decoder layer, in the same scope.
  init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, parallel: ParallelContext, block: any DecoderBlock
  ) {
    func norm(_ scope: ParameterScope) -> any Norm {
      configuration.makeNorm(scope, size: configuration.hiddenSize, sharing: parallel.sequenceSharing)
    }
    (embeddingNorm, hiddenNorm, self.norm) = (norm(scope("enorm")), norm(scope("hnorm")), norm(scope("shared_head")("norm")))
    projection = ReplicatedLinear(
      scope("eh_proj"), inputSize: 2 * configuration.hiddenSize, outputSize: configuration.hiddenSize, bias: false,
      initializer: .normal(standardDeviation: configuration.initializerRange), parallel: parallel)
    (self.block, hiddenIsFirst) = (block, configuration.predictionForm.hiddenIsFirst)
  }

  /// - Parameters:
  ///   - embedding: of the tokens that follow.
  ///   - hidden: what the model, or the layer before this one, made of the tokens before them.
  /// - Returns: after its norm, for the output layer.
  /// All `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`).
  func callAsFunction(embedding: Tensor, hidden: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let (embedded, hidden) = (embeddingNorm(embedding), hiddenNorm(hidden))
    let both = Tensor.cat(hiddenIsFirst ? [hidden, embedded] : [embedded, hidden], dim: 1)
    return norm(block(projection(both), rotary: rotary, context: context))
  }
}

/// What is special about a family's prediction layers.
public struct PredictionForm: Sendable, Equatable {
  /// The first reads what the last layer says; otherwise the final norm of that.
  public var readsUnnormed = false
  /// In the projection's input the hidden state stands before the embedding; otherwise behind it.
  public var hiddenIsFirst = false
  /// What checkpoints call them, up to their number from 0, or up to anything else where there is one; nil: they go on from
  /// the other layers.
  public var storedPrefix: String?
}

extension ModelConfiguration {
  /// The layers that a `PredictionLayer` stands in.
  var predictionLayers: Range<Int> { layerCount..<layerCount + predictionLayerCount }

  /// Whether a weight, by its name here or in the checkpoint, is of such a layer, which is built.
  public func isOfPredictionLayer(_ name: String) -> Bool {
    if let layer = CausalLM.layer(of: name) { return predictionLayers.contains(layer) }
    guard let prefix = predictionForm.storedPrefix, name.hasPrefix(prefix) else { return false }
    return Int(name.dropFirst(prefix.count).prefix { $0 != "." }) ?? 0 < predictionLayerCount
  }

  /// The layers whose inputs the first one reads (the end of the last is that of one after it); none: the model's output.
  public var predictionInputs: [Int] { predictionForm.readsUnnormed ? [layerCount] : [] }

  /// Their decoder layers are mixtures of experts where the last layers are.
  var ofPredictionLayers: ModelConfiguration {
    var own = self
    if predictsWithMixtures { own.mixture!.layers = Array(predictionLayers) }
    return own
  }

  private var predictsWithMixtures: Bool { mixture?.layers.contains(layerCount - 1) ?? false }

  /// Layers that route tokens to experts.
  public var mixtureLayerCount: Int { (mixture?.layers.count ?? 0) + (predictsWithMixtures ? predictionLayerCount : 0) }

  /// With all prediction layers, where something holds each of their weights; otherwise with those that are built.
  func keepingPredictionLayers(_ isHeld: (ParameterPiece) -> Bool) throws -> ModelConfiguration {
    guard extraLayerCount > predictionLayerCount else { return self }
    let all = try withPredictionLayers()
    let table = try all.model(parallel: .single(), dtype: .float32).table
    let pieces = table.parameters.flatMap(\.pieces).filter { all.isOfPredictionLayer($0.checkpointName) }
    return !pieces.isEmpty && pieces.allSatisfy(isHeld) ? all : self
  }

  /// With all prediction layers, where a folder holds them; otherwise with those that are built.
  public func keepingPredictionLayers(of folder: HuggingFaceFolder) throws -> ModelConfiguration {
    guard let files = try? StoredTensors(folder, self) else { return self }
    return try keepingPredictionLayers { (try? files.check($0)) != nil }
  }
}
