import Torch

/// Attention by plain operators, differentiable: softmax(q kᵀ · scale) v, the softmax in fp32. All tensors are
/// `[B, heads, T, d]`, with as many heads of keys as of queries.
package enum EagerAttention {
  static func attend(_ q: Tensor, _ k: Tensor, _ v: Tensor, isCausal: Bool, scale: Double) -> Tensor {
    scores(q, k, isCausal: isCausal, scale: scale).softmax(3).to(dtype: v.dtype).matmul(v)
  }

  /// - Parameters:
  ///   - hidden: true where a query does not see the key; broadcast to `[B, heads, queries, keys]`. The rule's window is in it.
  ///   - rule: of which soft cap and sinks are used.
  package static func attend(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, hidden: Tensor, scale: Double, rule: AttentionRule
  ) -> Tensor {
    var scores = scores(q, k, scale: scale, softCap: rule.softCap).maskedFill(hidden, value: -Double.infinity)
    if let sinks = rule.sinks {
      let column = sinks.to(dtype: .float32).view([1, sinks.size(0), 1, 1])
        .expand([scores.size(0), scores.size(1), scores.size(2), 1])
      scores = Tensor.cat([scores, column], dim: 3)
    }
    return scores.softmax(3).narrow(3, start: 0, length: k.size(2)).to(dtype: v.dtype).matmul(v)
  }

  /// fp32 `[B, heads, queries, keys]`; −∞ where a query does not see the key.
  static func scores(_ q: Tensor, _ k: Tensor, isCausal: Bool, scale: Double) -> Tensor {
    let scores = scores(q, k, scale: scale, softCap: nil)
    guard isCausal else { return scores }
    let hidden = Tensor.ones([q.size(2), k.size(2)], dtype: .bool, device: q.device).triu(1)
    return scores.maskedFill(hidden, value: -Double.infinity)
  }

  /// The same of all keys.
  static func scores(_ q: Tensor, _ k: Tensor, scale: Double, softCap: Double?) -> Tensor {
    let scores = q.matmul(k.transpose(2, dim1: 3)).to(dtype: .float32) * scale
    return softCap.map { (scores / $0).tanh() * $0 } ?? scores
  }
}

extension Tensor {
  /// `[B, heads, T, d]` → each head `groups` times.
  package func repeatingHeads(_ groups: Int) -> Tensor {
    guard groups > 1 else { return self }
    return unsqueeze(2).expand([size(0), size(1), groups, size(2), size(3)]).reshape(
      [size(0), size(1) * groups, size(2), size(3)])
  }

  /// The gradient of that.
  func summingHeads(_ groups: Int) -> Tensor {
    guard groups > 1 else { return self }
    return reshape([size(0), size(1) / groups, groups, size(2), size(3)]).sum([2])
  }
}
