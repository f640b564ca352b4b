import Parallelism
import Torch

/// One layer of a decoder.
public protocol DecoderBlock {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor
}

/// Pre-norm transformer layer: x + attention(norm x), then x + feedForward(norm x).
public struct DecoderLayer: DecoderBlock {
  let inputNorm: RMSNorm
  let attention: any SelfAttention
  let postAttentionNorm: RMSNorm
  let feedForward: any FeedForward

  public init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, _ layer: Int, _ parallel: ParallelContext
  ) {
    func norm(_ name: String) -> RMSNorm {
      RMSNorm(
        scope(name), size: configuration.hiddenSize, epsilon: configuration.normEpsilon, sharing: parallel.sequenceSharing)
    }
    inputNorm = norm("input_layernorm")
    attention =
      if let latent = configuration.latentAttention {
        LatentAttention(scope("self_attn"), latent, configuration, layer: layer, parallel: parallel)
      } else {
        Attention(scope("self_attn"), configuration, layer: layer, parallel: parallel)
      }
    postAttentionNorm = norm("post_attention_layernorm")
    feedForward =
      if let mixture = configuration.mixture, mixture.layers.contains(layer) {
        MixtureFeedForward(scope("mlp"), mixture, configuration, layer: layer, parallel: parallel)
      } else {
        GatedFeedForward(scope("mlp"), configuration, parallel: parallel)
      }
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let attended = attention(inputNorm(input), rotary: rotary, context: context)
    let (middle, normed) = postAttentionNorm(adding: attended, to: input, context: context)
    return middle + feedForward(normed, context: context)
  }
}
