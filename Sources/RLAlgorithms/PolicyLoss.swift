import Torch

/// The clipped surrogate of a policy step.
public struct PolicyLossOptions: Sendable, Equatable, Codable {
  public var estimator = AdvantageEstimatorKind.grpo
  /// The ratio is kept within 1 − clipLow and 1 + clipHigh.
  public var clipLow = 0.2
  public var clipHigh = 0.2
  /// Dual clip's c > 1 for negative advantages (Ye et al., 2020); nil: none.
  public var clipDual: Double?

  public init() {}
}

/// A value and what is reported of it, one a token.
public struct PolicyLoss {
  public let loss: Tensor
  public let clipFraction: Tensor
  /// old − new log-probability (GSPO: its mean over the sequence).
  public let kl: Tensor
}

/// Losses of response tokens: PPO's clipped surrogate (Schulman et al., 2017), GSPO's sequence-level ratio (Zheng et al.,
/// 2025), CISPO's clipped importance weight (MiniMax, 2025).
///
/// - Parameters:
///   - logProbs: of the policy that is trained; `[T]`, differentiable. `old`: of the one that sampled.
///   - sequenceMean: means over each token's sequence, masked, back at every token (GSPO needs it).
public func policyLoss(
  _ options: PolicyLossOptions, logProbs: Tensor, old: Tensor, advantages: Tensor, sequenceMean: (Tensor) -> Tensor
) -> PolicyLoss {
  let kl = options.estimator == .gspo ? sequenceMean(old - logProbs) : old - logProbs
  let ratio = (-kl).exp()
  let clipped = ratio.clamped(1 - options.clipLow, max: 1 + options.clipHigh)
  if options.estimator == .cispo {
    let loss = -(clipped.detached() * advantages * logProbs)
    return PolicyLoss(loss: loss, clipFraction: clipped.ne(ratio).to(dtype: .float32), kl: kl)
  }
  let plain = -(ratio * advantages)
  let bounded = -(clipped * advantages)
  var loss = plain.maximum(bounded)
  let clipFraction = bounded.gt(plain).to(dtype: .float32)
  if let c = options.clipDual {
    loss = Tensor.select(advantages.lt(0), value: loss.minimum(-(advantages * c)), other: loss)
  }
  return PolicyLoss(loss: loss, clipFraction: clipFraction, kl: kl)
}

/// Truncated importance sampling between trainer and engine: exp(train − rollout) clamped to `[low, high]`.
public func truncatedImportanceWeights(train: Tensor, rollout: Tensor, low: Double, high: Double) -> (
  raw: Tensor, clamped: Tensor
) {
  let raw = (train - rollout).exp()
  return (raw, raw.clamped(low, max: high))
}
