import Torch

/// cuDNN's attention over packed sequences on a GPU, in bf16 or fp16; FlashAttention's for what it does not take.
struct CuDNNBlockAttention: BlockAttention {
  private let fallback = FlashBlockAttention()

  private func takes(_ query: Tensor, _ value: Tensor, _ rule: AttentionRule) -> Bool {
    rule.hasPlainScores && query.size(0) > 0 && value.size(0) > 0
      && CuDNNAttention.takes(queryDimension: query.size(2), valueDimension: value.size(2))
  }

  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    guard takes(query, value, rule) else { return fallback.forward(query, key, value, shape, scale: scale, rule: rule) }
    let (queries, keys) = shape.sequences
    return CuDNNAttention.forward(
      query, key, value, queries: queries, keys: keys, isCausal: shape.isCausal, scale: scale)
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    guard takes(query, value, rule) else {
      return fallback.backward(
        gradient, query, key, value, output: output, logSumExp: logSumExp, shape, scale: scale, rule: rule)
    }
    let (queries, keys) = shape.sequences
    return CuDNNAttention.backward(
      gradient, query, key, value, output: output, logSumExp: logSumExp, queries: queries, keys: keys,
      isCausal: shape.isCausal, scale: scale)
  }
}
