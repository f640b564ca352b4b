import Torch

/// FlashAttention-2 (Dao, 2023) over packed sequences on a GPU, causal, with its gradient.
/// - Parameters:
///   - query: `[T, heads, headDimension]` in bf16 or fp16; key and value have their own number of heads.
///   - cumulative: `[sequences + 1]`, int32: where each sequence starts, and the end.
func flashAttention(_ query: Tensor, _ key: Tensor, _ value: Tensor, cumulative: Tensor, longest: Int) -> Tensor {
  var saved: (output: Tensor, logSumExp: Tensor, random: Tensor, unused: Tensor)?
  let (q, k, v) = (query.detached(), key.detached(), value.detached())
  return Tensor.function("FlashAttention", inputs: [query, key, value]) {
    let (output, logSumExp, random, unused, _) = q.flashAttentionForward(
      k, value: v, cumSeqQ: cumulative, cumSeqK: cumulative, maxQ: longest, maxK: longest, dropoutP: 0,
      isCausal: true, returnDebugMask: false)
    saved = (output.detached(), logSumExp, random, unused)
    return [output]
  } backward: { gradients in
    guard let gradient = gradients[0], let saved else { return [nil, nil, nil] }
    let (byQuery, byKey, byValue) = Tensor.flashAttentionBackward(
      gradient.contiguous(), query: q, key: k, value: v, out: saved.output, logsumexp: saved.logSumExp,
      cumSeqQ: cumulative, cumSeqK: cumulative, maxQ: longest, maxK: longest, dropoutP: 0, isCausal: true,
      rngState: saved.random, unused: saved.unused)
    return [byQuery, byKey, byValue]
  }[0]
}
