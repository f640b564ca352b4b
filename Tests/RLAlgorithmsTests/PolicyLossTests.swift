import RLAlgorithms
import Testing
import Torch

@Suite struct PolicyLossTests {
  let fixture: AlgorithmFixture

  init() throws { fixture = try AlgorithmFixture.shared.get() }

  private func leaf(_ values: [Float]) -> Tensor {
    let tensor = Tensor(values)
    tensor.requiresGrad = true
    return tensor
  }

  private func gradient(of leaf: Tensor) -> [Float] { leaf.grad?.array() ?? [] }

  @Test func lossesAndTheirGradients() throws {
    let part = fixture.policy
    // PPO's surrogate is that of GRPO.
    #expect(Set(part.cases.map(\.estimator)) == Set(AdvantageEstimatorKind.allCases).subtracting([.ppo]))
    for item in part.cases {
      try catchingTorchErrors {
        let logProbs = leaf(part.logProbs)
        let result = policyLoss(
          item.options, logProbs: logProbs, old: Tensor(part.old), advantages: Tensor(part.advantages),
          sequenceMean: fixture.sequenceMean)
        (result.loss * Tensor(part.weights)).sum().backward()
        #expect(difference(result.loss.array(), item.loss) < 2e-6, "loss of \(item.options)")
        #expect(result.clipFraction.array() == item.clipFraction, "clip fraction of \(item.options)")
        #expect(difference(result.kl.array(), item.kl) < 1e-6, "divergence of \(item.options)")
        #expect(difference(gradient(of: logProbs), item.gradient) < 2e-6, "gradient of \(item.options)")
      }
    }
  }

  /// Old log-probabilities that are the current ones: the ratio is 1, and the gradient that of REINFORCE.
  @Test func onPolicyGradients() throws {
    let part = fixture.policy
    let plain = zip(part.advantages, part.weights).map { -$0 * $1 }
    for estimator in AdvantageEstimatorKind.allCases where estimator != .gspo {
      var options = PolicyLossOptions()
      options.estimator = estimator
      try catchingTorchErrors {
        let logProbs = leaf(part.logProbs)
        let result = policyLoss(
          options, logProbs: logProbs, old: logProbs.detached(), advantages: Tensor(part.advantages),
          sequenceMean: fixture.sequenceMean)
        (result.loss * Tensor(part.weights)).sum().backward()
        #expect(difference(gradient(of: logProbs), plain) < 1e-6, "\(estimator)")
        #expect(result.clipFraction.array(Float.self).allSatisfy { $0 == 0 })
      }
    }
  }

  @Test func nothingToLearnFrom() throws {
    for estimator in AdvantageEstimatorKind.allCases {
      var options = PolicyLossOptions()
      options.estimator = estimator
      try catchingTorchErrors {
        let empty = leaf([])
        let result = policyLoss(options, logProbs: empty, old: Tensor([Float]()), advantages: Tensor([Float]())) { $0 }
        result.loss.sum().backward()
        #expect(result.loss.shape == [0] && result.clipFraction.shape == [0] && result.kl.shape == [0])
      }
    }
  }

  @Test func klEstimatorsAndTheirGradients() throws {
    let part = fixture.kl
    #expect(Set(part.cases.map(\.kind)) == Set(KLEstimatorKind.allCases))
    for item in part.cases {
      try catchingTorchErrors {
        let logProbs = leaf(part.logProbs)
        let values = klDivergence(logProbs, reference: Tensor(part.reference), item.kind)
        (values * Tensor(part.weights)).sum().backward()
        #expect(difference(values.array(), item.expected) < 2e-6, "\(item.kind)")
        #expect(difference(gradient(of: logProbs), item.gradient) < 2e-6, "\(item.kind)")
      }
    }
  }

  @Test func importanceWeights() throws {
    let part = fixture.importance
    for item in part.cases {
      try catchingTorchErrors {
        let weights = truncatedImportanceWeights(
          train: Tensor(part.train), rollout: Tensor(part.rollout), low: item.low, high: item.high)
        #expect(difference(weights.raw.array(), part.raw) < 2e-6)
        #expect(difference(weights.clamped.array(), item.clamped) < 2e-6)
      }
    }
  }
}
