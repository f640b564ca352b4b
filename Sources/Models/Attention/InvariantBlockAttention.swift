import Torch

/// Attention of packed sequences on a GPU whose result for a token does not depend on what is packed beside its own sequence,
/// to the bits of the engine's. Its gradients are FlashAttention's, deterministic where libtorch is told to be.
struct InvariantBlockAttention: BlockAttention {
  /// Those of the shapes that come.
  let sequences: InvariantSequences

  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    Kernels.invariantAttention(query: query, keys: key, values: value, sequences, scale: scale)
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    FlashBlockAttention().backward(
      gradient, query, key, value, output: output, logSumExp: logSumExp, shape, scale: scale, rule: rule)
  }
}
