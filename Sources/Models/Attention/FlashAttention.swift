import Torch

/// FlashAttention-2 (Dao, 2023) over packed sequences on a GPU, in bf16 or fp16.
struct FlashBlockAttention: BlockAttention {
  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape
  ) -> (output: Tensor, logSumExp: Tensor) {
    let (output, logSumExp, _, _, _) = query.flashAttentionForward(
      key, value: value, cumSeqQ: shape.cumulativeQueries, cumSeqK: shape.cumulativeKeys,
      maxQ: shape.queryLengths.max() ?? 0, maxK: shape.keyLengths.max() ?? 0, dropoutP: 0, isCausal: shape.isCausal,
      returnDebugMask: false)
    // The kernel has heads first.
    return (output, logSumExp.t().contiguous())
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    // Its random state is for dropout, of which there is none.
    let unused = Tensor.zeros([2], dtype: .int64, device: query.device)
    let (byQuery, byKey, byValue) = Tensor.flashAttentionBackward(
      gradient.contiguous(), query: query, key: key, value: value, out: output, logsumexp: logSumExp.t().contiguous(),
      cumSeqQ: shape.cumulativeQueries, cumSeqK: shape.cumulativeKeys, maxQ: shape.queryLengths.max() ?? 0,
      maxK: shape.keyLengths.max() ?? 0, dropoutP: 0, isCausal: shape.isCausal, rngState: unused, unused: unused)
    return (byQuery, byKey, byValue)
  }
}
