import Parallelism
import Torch

/// A layer after the last one that predicts the token after the next (multi-token prediction: DeepSeek-AI, "DeepSeek-V3",
/// 2024; GLM-4.5 has it too): from what the model made of a token and the token that follows it. Embedding and output layer
/// are the model's own.
public struct PredictionLayer {
  private let embeddingNorm: RMSNorm
  private let hiddenNorm: RMSNorm
  private let projection: ReplicatedLinear
  private let block: any DecoderBlock
  private let norm: RMSNorm

  /// - Parameters:
  ///   - scope: that of the layer after the last.
  ///   - block: its decoder layer, in the same scope.
  init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, parallel: ParallelContext, block: any DecoderBlock
  ) {
    func norm(_ scope: ParameterScope) -> RMSNorm {
      RMSNorm(scope, size: configuration.hiddenSize, epsilon: configuration.normEpsilon, sharing: parallel.sequenceSharing)
    }
    (embeddingNorm, hiddenNorm, self.norm) = (norm(scope("enorm")), norm(scope("hnorm")), norm(scope("shared_head")("norm")))
    projection = ReplicatedLinear(
      scope("eh_proj"), inputSize: 2 * configuration.hiddenSize, outputSize: configuration.hiddenSize, bias: false,
      initializer: .normal(standardDeviation: configuration.initializerRange), parallel: parallel)
    self.block = block
  }

  /// - Parameters:
  ///   - embedding: of the tokens that follow.
  ///   - hidden: what the model, or this layer, made of the tokens before them, after its norm.
  /// - Returns: after its norm, for the output layer.
  /// All `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`).
  func callAsFunction(embedding: Tensor, hidden: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    norm(block(projection(Tensor.cat([embeddingNorm(embedding), hiddenNorm(hidden)], dim: 1)), rotary: rotary, context: context))
  }
}

extension ModelConfiguration {
  /// The layer that a `PredictionLayer` stands in.
  var predictionLayer: Int { layerCount }

  /// Whether a weight, by its name here or in the checkpoint, is the layer's, which is built.
  public func isOfPredictionLayer(_ name: String) -> Bool {
    hasPredictionLayer && CausalLM.layer(of: name) == predictionLayer
  }

  /// Its decoder layer is a mixture of experts where the last layers are.
  var ofPredictionLayer: ModelConfiguration {
    var own = self
    if let mixture, mixture.layers.contains(layerCount - 1) { own.mixture!.layers = [predictionLayer] }
    return own
  }
}
