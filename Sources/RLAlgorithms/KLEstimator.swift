import Torch

/// Estimators of KL(policy ‖ reference) from the log-probabilities of sampled tokens (Schulman, "Approximating KL
/// Divergence", 2020), by slime's names.
public enum KLEstimatorKind: String, Sendable, Codable, CaseIterable {
  case k1, k2, k3
  /// k3 clamped to [−10, 10].
  case lowVariance = "low_var_kl"
}

/// One estimate a token; fp32, the shape of its arguments, differentiable by `logProbs`.
public func klDivergence(_ logProbs: Tensor, reference: Tensor, _ kind: KLEstimatorKind) -> Tensor {
  let difference = logProbs - reference
  switch kind {
  case .k1: return difference
  case .k2: return difference.square() / 2
  case .k3: return k3(difference)
  case .lowVariance: return k3(difference).clamped(-10, max: 10)
  }
}

private func k3(_ difference: Tensor) -> Tensor { (-difference).exp() - 1 + difference }
