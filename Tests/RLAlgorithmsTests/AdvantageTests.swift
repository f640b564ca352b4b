import RLAlgorithms
import Testing

@Suite struct AdvantageTests {
  let fixture: AlgorithmFixture

  init() throws { fixture = try AlgorithmFixture.shared.get() }

  @Test func everyEstimatorOnRaggedResponses() {
    let part = fixture.advantages
    // PPO's have a critic: CriticAlgorithmTests.
    #expect(Set(part.cases.map(\.estimator)) == Set(AdvantageEstimatorKind.allCases).subtracting([.ppo]))
    for item in part.cases {
      let values = advantages(
        item.estimator, rewards: part.rewards, responseLengths: fixture.responseLengths, masks: fixture.masks, kl: part.kl,
        klCoefficient: item.klCoefficient, discount: item.discount)
      #expect(difference(values, item.expected) < 1e-6, "\(item.estimator) γ \(item.discount)")
    }
  }

  @Test(arguments: AdvantageEstimatorKind.allCases)
  func withoutADivergenceTheCoefficientDoesNotCount(kind: AdvantageEstimatorKind) {
    func values(_ coefficient: Float) -> [Float] {
      advantages(
        kind, rewards: fixture.advantages.rewards, responseLengths: fixture.responseLengths, masks: fixture.masks,
        klCoefficient: coefficient)
    }
    #expect(values(0.5) == values(0))
    #expect(advantages(kind, rewards: [1, 2], responseLengths: [0, 0], masks: []).isEmpty)
  }

  @Test func whitening() {
    let (values, expected) = (fixture.whitening.values, fixture.whitening.expected)
    #expect(difference(MaskedMoments(values, masks: fixture.masks).whiten(values), expected) < 1e-6)
  }

  /// Moments of ranks add up, those of a rank without tokens too.
  @Test func whiteningOverRanks() {
    let values = fixture.whitening.values
    var all = MaskedMoments()
    for range in [0..<0, 0..<6, 6..<7, 7..<values.count] {
      let part = MaskedMoments(Array(values[range]), masks: Array(fixture.masks[range]))
      all.count += part.count
      all.sum += part.sum
      all.squares += part.squares
    }
    #expect(difference(all.whiten(values), fixture.whitening.expected) < 1e-6)
    #expect(MaskedMoments([], masks: []).whiten([]).isEmpty)
  }

  @Test func whiteningOfEqualValuesIsZero() {
    let values = [Float](repeating: 0.3, count: 7)
    let white = MaskedMoments(values, masks: [1, 1, 0, 1, 1, 1, 0]).whiten(values)
    #expect(white.allSatisfy { abs($0) < 1e-6 })
    #expect(MaskedMoments([5], masks: [1]).whiten([5]) == [0])
    #expect(MaskedMoments([5], masks: [0]).whiten([5]) == [5])
  }
}
