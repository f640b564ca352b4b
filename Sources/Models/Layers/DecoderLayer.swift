import Parallelism
import Torch

/// Pre-norm transformer layer: x + attention(norm x), then x + feedForward(norm x).
public struct DecoderLayer {
  let inputNorm: RMSNorm
  let attention: any SelfAttention
  let postAttentionNorm: RMSNorm
  let feedForward: any FeedForward

  public init(_ scope: ParameterScope, _ configuration: ModelConfiguration, layer: Int, parallel: ParallelContext) {
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

  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let middle = input + attention(inputNorm(input), rotary: rotary, context: context)
    return middle + feedForward(postAttentionNorm(middle), context: context)
  }
}
