import Parallelism
import Torch

/// One layer of a decoder.
public protocol DecoderBlock {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor
}

/// Pre-norm transformer layer: x + attention(norm x), then x + feedForward(norm x); or both of the same x. With sandwich
/// norms, what attention and feed-forward say is normed before it is added.
public struct DecoderLayer: DecoderBlock {
  let inputNorm: any Norm
  let attention: any SelfAttention
  let attentionOutputNorm: (any Norm)?
  let feedForwardNorm: any Norm
  let feedForward: any FeedForward
  let feedForwardOutputNorm: (any Norm)?
  let isParallel: Bool
  let parallel: ParallelContext

  public init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, _ layer: Int, _ parallel: ParallelContext
  ) {
    func norm(_ name: String) -> any Norm {
      configuration.makeNorm(scope(name), size: configuration.hiddenSize, sharing: parallel.sequenceSharing)
    }
    (isParallel, self.parallel) = (configuration.hasParallelResidual, parallel)
    inputNorm = norm("input_layernorm")
    attention =
      if let linear = configuration.linearAttention, linear.layers.contains(layer) {
        GatedDeltaNet(scope("linear_attn"), linear, configuration, layer: layer, parallel: parallel)
      } else if let latent = configuration.latentAttention {
        LatentAttention(scope("self_attn"), latent, configuration, layer: layer, parallel: parallel)
      } else {
        Attention(scope("self_attn"), configuration, layer: layer, parallel: parallel)
      }
    let sandwich = configuration.sandwichNorms
    attentionOutputNorm = sandwich.map { norm($0.attentionOutput) }
    feedForwardNorm = norm(sandwich?.feedForwardInput ?? "post_attention_layernorm")
    feedForward =
      if let mixture = configuration.mixture, mixture.layers.contains(layer) {
        MixtureFeedForward(scope("mlp"), mixture, configuration, layer: layer, parallel: parallel)
      } else if configuration.hasGatedFeedForward {
        GatedFeedForward(scope("mlp"), configuration, parallel: parallel)
      } else {
        PlainFeedForward(scope("mlp"), configuration, parallel: parallel)
      }
    feedForwardOutputNorm = sandwich.map { norm($0.feedForwardOutput) }
  }

  public func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    if let output = decodingFewRows(input, rotary: rotary, context: context) { return output }
    /// input + delta, and the norm of that.
    func normed(_ norm: any Norm, _ input: Tensor, adding delta: Tensor? = nil) -> (sum: Tensor, normed: Tensor) {
      if let norm = norm as? RMSNorm { return norm(adding: delta, to: input, context: context) }
      let sum = delta.map { input + $0 } ?? input
      return (sum, norm(sum))
    }
    let (input, first) = normed(inputNorm, input)
    var said = attention(first, rotary: rotary, context: context)
    if let attentionOutputNorm { said = attentionOutputNorm(said) }
    let (middle, second) = isParallel
      ? (input + said, feedForwardNorm(input)) : normed(feedForwardNorm, input, adding: said)
    let made = feedForward(second, context: context)
    return middle + (feedForwardOutputNorm.map { $0(made) } ?? made)
  }
}
