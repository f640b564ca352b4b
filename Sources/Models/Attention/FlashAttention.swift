import Torch

/// FlashAttention-2 (Dao, 2023) over packed sequences on a GPU, in bf16 or fp16.
///
/// The kernel has one dimension for all heads, a multiple of 8: where keys and values have other ones, zeros fill them up,
/// which change nothing. It knows windows of whole sequences, and no soft caps, which are left to plain operators.
struct FlashBlockAttention: BlockAttention {
  /// What the kernel is told at least of the longest sequence. For single queries (1) it divides contexts among threads,
  /// by how many there are.
  var leastMaxQuery = 0
  private var capped: RectangleAttention { RectangleAttention(usesFusedKernel: true) }

  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    if rule.softCap != nil { return capped.forward(query, key, value, shape, scale: scale, rule: rule) }
    let dimension = Tensor.flashDimension(query, value)
    let (output, logSumExp, _, _, _) = query.paddedHeads(to: dimension).flashAttentionForward(
      key.paddedHeads(to: dimension), value: value.paddedHeads(to: dimension), cumSeqQ: shape.cumulativeQueries,
      cumSeqK: shape.cumulativeKeys, maxQ: max(shape.queryLengths.max() ?? 0, leastMaxQuery),
      maxK: shape.keyLengths.max() ?? 0, dropoutP: 0, isCausal: shape.isCausal, returnDebugMask: false, scale: scale,
      windowSizeLeft: rule.window.map { $0 - 1 }, windowSizeRight: rule.window.map { _ in 0 })
    // The kernel has heads first.
    return (output.narrowedHeads(to: value.size(2)), logSumExp.t().contiguous())
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    if rule.softCap != nil {
      return capped.backward(
        gradient, query, key, value, output: output, logSumExp: logSumExp, shape, scale: scale, rule: rule)
    }
    let dimension = Tensor.flashDimension(query, value)
    // Its random state is for dropout, of which there is none.
    let unused = Tensor.zeros([2], dtype: .int64, device: query.device)
    let (byQuery, byKey, byValue) = Tensor.flashAttentionBackward(
      gradient.paddedHeads(to: dimension).contiguous(), query: query.paddedHeads(to: dimension), key: key.paddedHeads(to: dimension),
      value: value.paddedHeads(to: dimension), out: output.paddedHeads(to: dimension), logsumexp: logSumExp.t().contiguous(),
      cumSeqQ: shape.cumulativeQueries, cumSeqK: shape.cumulativeKeys, maxQ: shape.queryLengths.max() ?? 0,
      maxK: shape.keyLengths.max() ?? 0, dropoutP: 0, isCausal: shape.isCausal, rngState: unused, unused: unused,
      scale: scale, windowSizeLeft: rule.window.map { $0 - 1 }, windowSizeRight: rule.window.map { _ in 0 })
    return (
      byQuery.narrowedHeads(to: query.size(2)), byKey.narrowedHeads(to: query.size(2)), byValue.narrowedHeads(to: value.size(2))
    )
  }
}

extension Tensor {
  /// The head dimension that FlashAttention is given for queries (and keys) and values of these.
  package static func flashDimension(_ query: Tensor, _ value: Tensor) -> Int {
    (Swift.max(query.size(2), value.size(2)) + 7) / 8 * 8
  }

  /// Heads with zeros up to a dimension. `[T, heads, dimension]`
  package func paddedHeads(to dimension: Int) -> Tensor {
    size(2) == dimension ? self : constantPadNd([0, dimension - size(2)])
  }

  /// The first dimensions of heads, contiguous.
  package func narrowedHeads(to dimension: Int) -> Tensor {
    size(2) == dimension ? self : narrow(2, start: 0, length: dimension).contiguous()
  }
}
