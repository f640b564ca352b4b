import Torch

/// What a layer's attention does besides softmax(q kᵀ · scale) v over all positions up to the query's own.
public struct AttentionRule {
  /// A query sees so many positions, its own the last of them; nil: all before it (sliding window).
  public var window: Int?
  /// A score s becomes cap · tanh(s / cap).
  public var softCap: Double?
  /// One more score for each head on this rank, which takes its part of the softmax and brings no value. `[heads]`
  public var sinks: Tensor?

  public static var plain: AttentionRule { AttentionRule() }

  public init(window: Int? = nil, softCap: Double? = nil, sinks: Tensor? = nil) {
    (self.window, self.softCap, self.sinks) = (window, softCap, sinks)
  }

  /// Any kernel does it.
  public var isPlain: Bool { window == nil && softCap == nil && sinks == nil }
  /// Scores are as they are, of all positions: sinks can be merged afterwards.
  var hasPlainScores: Bool { window == nil && softCap == nil }
}

/// Attention sinks as one more block of keys, whose values are zero: what is known of the other keys' outputs and
/// log-sum-exps is enough to merge them.
package enum AttentionSinks {
  /// - Parameters:
  ///   - sinks: `[heads]`
  ///   - output: `[T, heads, d]`; logSumExp: `[T, heads]`, fp32.
  package static func merged(
    _ sinks: Tensor, output: Tensor, logSumExp: Tensor
  ) -> (output: Tensor, logSumExp: Tensor) {
    let scores = sinks.to(dtype: .float32).unsqueeze(0)
    let maximum = logSumExp.maximum(scores)
    let merged = maximum + ((logSumExp - maximum).exp() + (scores - maximum).exp()).log()
    return (output * (logSumExp - merged).exp().unsqueeze(2).to(dtype: output.dtype), merged)
  }

  /// By the sinks, from the merged output and log-sum-exp. `[heads]`
  static func gradient(_ sinks: Tensor, by gradient: Tensor, output: Tensor, logSumExp: Tensor) -> Tensor {
    let mean = (gradient * output).to(dtype: .float32).sum([2])
    let share = (sinks.to(dtype: .float32).unsqueeze(0) - logSumExp).exp()
    return (-(share * mean).sum([0])).to(dtype: sinks.dtype)
  }
}
