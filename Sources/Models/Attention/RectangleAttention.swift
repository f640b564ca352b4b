import Torch

/// Blocks as batches of sequences of equal lengths: libtorch's fused kernel on the CPU, plain operators elsewhere (its GPU
/// kernels keep the log-sum-exps to themselves) and where it is not wanted.
struct RectangleAttention: BlockAttention {
  let usesFusedKernel: Bool

  func forward(
    _ query: Tensor, _ key: Tensor, _ value: Tensor, _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (output: Tensor, logSumExp: Tensor) {
    let output = Tensor.empty(query.shape.dropLast() + [value.size(2)], dtype: query.dtype, device: query.device)
    let logSumExp = Tensor.empty([query.size(0), query.size(1)], device: query.device)
    let groups = query.size(1) / key.size(1)
    for rectangle in shape.rectangles {
      let q = batch(query, rectangle.queryRows, rectangle.count)
      let k = batch(key, rectangle.keyRows, rectangle.count).repeatingHeads(groups)
      let v = batch(value, rectangle.keyRows, rectangle.count).repeatingHeads(groups)
      let (out, lse) = attend(q, k, v, isCausal: shape.isCausal, scale: scale, rule: rule) {
        shape.hidden(rectangle, window: rule.window)
      }
      output.indexCopy_(0, index: rectangle.queryRows, source: unbatch(out))
      logSumExp.indexCopy_(0, index: rectangle.queryRows, source: unbatch(lse.unsqueeze(3)).squeeze(2))
    }
    return (output, logSumExp)
  }

  func backward(
    _ gradient: Tensor, _ query: Tensor, _ key: Tensor, _ value: Tensor, output: Tensor, logSumExp: Tensor,
    _ shape: BlockShape, scale: Double, rule: AttentionRule
  ) -> (query: Tensor, key: Tensor, value: Tensor) {
    let (byQuery, byKey, byValue) = (query.zerosLike(), key.zerosLike(), value.zerosLike())
    let groups = query.size(1) / key.size(1)
    for rectangle in shape.rectangles {
      func queries(_ rows: Tensor) -> Tensor { batch(rows, rectangle.queryRows, rectangle.count) }
      let k = batch(key, rectangle.keyRows, rectangle.count).repeatingHeads(groups)
      let v = batch(value, rectangle.keyRows, rectangle.count).repeatingHeads(groups)
      let lse = queries(logSumExp.unsqueeze(2)).squeeze(3)
      let (dq, dk, dv) = attendBackward(
        queries(gradient), queries(query), k, v, output: queries(output), logSumExp: lse, isCausal: shape.isCausal,
        scale: scale, rule: rule
      ) { shape.hidden(rectangle, window: rule.window) }
      byQuery.indexCopy_(0, index: rectangle.queryRows, source: unbatch(dq))
      byKey.indexCopy_(0, index: rectangle.keyRows, source: unbatch(dk.summingHeads(groups)))
      byValue.indexCopy_(0, index: rectangle.keyRows, source: unbatch(dv.summingHeads(groups)))
    }
    return (byQuery, byKey, byValue)
  }

  /// `[T, heads, d]` rows → `[count, heads, length, d]`
  private func batch(_ rows: Tensor, _ index: Tensor, _ count: Int) -> Tensor {
    let picked = rows.indexSelect(0, index: index)
    return picked.view([count, index.size(0) / count, rows.size(1), rows.size(2)]).transpose(1, dim1: 2)
  }

  private func unbatch(_ batch: Tensor) -> Tensor {
    batch.transpose(1, dim1: 2).reshape([batch.size(0) * batch.size(2), batch.size(1), batch.size(3)])
  }

  private func attend(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, isCausal: Bool, scale: Double, rule: AttentionRule, hidden: () -> Tensor?
  ) -> (Tensor, Tensor) {
    if isFused(q, v, rule) {
      return q.scaledDotProductFlashAttentionForCpu(k, value: v, isCausal: isCausal, scale: scale)
    }
    var scores = EagerAttention.scores(q, k, scale: scale, softCap: rule.softCap)
    if let hidden = hidden() { scores = scores.maskedFill(hidden, value: -Double.infinity) }
    let lse = scores.logsumexp([3])
    // A query that sees no key of the block has no weights.
    let bound = rule.window == nil ? lse : lse.maskedFill(lse.isinf(), value: 0)
    return ((scores - bound.unsqueeze(3)).exp().to(dtype: v.dtype).matmul(v), lse)
  }

  private func attendBackward(
    _ gradient: Tensor, _ q: Tensor, _ k: Tensor, _ v: Tensor, output: Tensor, logSumExp: Tensor, isCausal: Bool,
    scale: Double, rule: AttentionRule, hidden: () -> Tensor?
  ) -> (Tensor, Tensor, Tensor) {
    if isFused(q, v, rule) {
      return Tensor.scaledDotProductFlashAttentionForCpuBackward(
        gradient, query: q, key: k, value: v, out: output, logsumexp: logSumExp, dropoutP: 0, isCausal: isCausal,
        scale: scale)
    }
    let scores = EagerAttention.scores(q, k, scale: scale, softCap: rule.softCap)
    var p = (scores - logSumExp.unsqueeze(3)).exp()
    if let hidden = hidden() { p = p.maskedFill(hidden, value: 0) }
    let byP = gradient.matmul(v.transpose(2, dim1: 3)).to(dtype: .float32)
    let mean = (gradient * output).to(dtype: .float32).sum([3]).unsqueeze(3)
    var byCapped = p * (byP - mean) * scale
    if let cap = rule.softCap { byCapped = byCapped * (1 - (scores / cap).square()) }
    let byScores = byCapped.to(dtype: q.dtype)
    return (
      byScores.matmul(k), byScores.transpose(2, dim1: 3).matmul(q),
      p.to(dtype: gradient.dtype).transpose(2, dim1: 3).matmul(gradient)
    )
  }

  /// The fused kernel wants values of the queries' head dimension, and knows neither windows nor soft caps.
  private func isFused(_ q: Tensor, _ v: Tensor, _ rule: AttentionRule) -> Bool {
    usesFusedKernel && rule.hasPlainScores && (q.device.kind == .cpu || ImaginedRun.current?.device == .cpu) && q.size(3) == v.size(3)
  }
}
