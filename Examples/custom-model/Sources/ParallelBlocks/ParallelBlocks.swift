import Models
import Parallelism
import Torch

/// Llama with attention and feed-forward side by side in each layer, as in GPT-J and PaLM:
/// x + attention(norm x) + feedForward(norm x).
struct ParallelBlocks: ModelProvider {
  func model(_ part: ModelPart) throws -> CausalLM {
    try part.model { scope, configuration, layer, parallel in
      ParallelBlock(scope, configuration, layer: layer, parallel: parallel)
    }
  }
}

struct ParallelBlock: DecoderBlock {
  let norm: RMSNorm
  let attention: Attention
  let feedForward: GatedFeedForward

  init(_ scope: ParameterScope, _ configuration: ModelConfiguration, layer: Int, parallel: ParallelContext) {
    norm = RMSNorm(
      scope("input_layernorm"), size: configuration.hiddenSize, epsilon: configuration.normEpsilon,
      sharing: WeightSharing(gradientIsPartial: parallel.sequenceParallel))
    attention = Attention(scope("self_attn"), configuration, layer: layer, parallel: parallel)
    feedForward = GatedFeedForward(scope("mlp"), configuration, parallel: parallel)
  }

  func callAsFunction(_ input: Tensor, rotary: RotaryTable, context: ForwardContext) -> Tensor {
    let normed = norm(input)
    return input + attention(normed, rotary: rotary, context: context) + feedForward(normed)
  }
}

/// What slime looks for in the library.
@_cdecl("slime_model_provider")
public func slimeModelProvider() -> UnsafeMutableRawPointer { ModelProviderHandle(ParallelBlocks()).pointer }
