import Foundation
import RLAlgorithms
import Testing
import Torch

/// Generalized advantages and value losses against their definitions, computed without recursion, in fp64.
@Suite struct CriticAlgorithmTests {
  /// Σ (γλ)ˡ δ over the trained tokens from t on, where δ = r + γ V(next trained) − V; without the others, as if they
  /// were not there.
  private static func naive(
    reward: Double, masks: [UInt8], kl: [Double], values: [Double], coefficient: Double, discount: Double, lambda: Double
  ) -> [Double] {
    let trained = masks.indices.filter { masks[$0] == 1 }
    let deltas = trained.enumerated().map { place, token in
      let isLast = place == trained.count - 1
      return (isLast ? reward : 0) - coefficient * kl[token] + (isLast ? 0 : discount * values[trained[place + 1]])
        - values[token]
    }
    var result = [Double](repeating: 0, count: masks.count)
    for (place, token) in trained.enumerated() {
      for later in place..<trained.count { result[token] += pow(discount * lambda, Double(later - place)) * deltas[later] }
    }
    return result
  }

  private static let responses: [[UInt8]] = [
    [1, 1, 1, 1, 1], [], [1], [1, 1, 0, 0, 1, 1, 0], [0, 0, 1], [0, 0, 0, 0], Array(repeating: 1, count: 40),
  ]

  @Test(arguments: [(1.0, 1.0), (0.99, 0.95), (0.9, 0), (1, 0.5)])
  func generalizedAdvantages(discount: Double, lambda: Double) {
    let lengths = Self.responses.map(\.count)
    let masks = Self.responses.flatMap { $0 }
    let rewards = lengths.indices.map { Double($0) / 2 - 1 }
    let kl = masks.indices.map { sin(Double($0)) * 0.3 }
    let values = masks.indices.map { cos(Double($0) * 1.7) }
    let found = advantages(
      .ppo, rewards: rewards.map { Float($0) }, responseLengths: lengths, masks: masks, kl: kl.map { Float($0) },
      klCoefficient: 0.1, discount: Float(discount), values: values.map { Float($0) }, lambda: Float(lambda))
    var start = 0
    for (sample, mask) in Self.responses.enumerated() {
      let range = start..<start + mask.count
      start += mask.count
      let expected = Self.naive(
        reward: rewards[sample], masks: mask, kl: Array(kl[range]), values: Array(values[range]), coefficient: 0.1,
        discount: discount, lambda: lambda)
      for (value, expected) in zip(found[range], expected) { #expect(abs(Double(value) - expected) < 2e-5) }
    }
  }

  @Test func valueLossesAndTheirGradients() throws {
    // Within the clip; beyond it, towards the return and past it; beyond it, away from the return.
    let (values, old, returns): ([Float], [Float], [Float]) = ([0.1, 1, 0.9, -1], [0, 0, 0, 0], [1, 2, 0.2, 0.5])
    let (losses, fractions, gradient) = try catchingTorchErrors {
      let input = Tensor(values)
      input.requiresGrad = true
      let result = valueLoss(input, old: Tensor(old), returns: Tensor(returns), clip: 0.2)
      result.loss.sum().backward()
      let all: ([Float], [Float], [Float]) = (result.loss.array(), result.clipFraction.array(), input.grad!.array())
      return all
    }
    let bounded: [Float] = [0.1, 0.2, 0.2, -0.2]
    for token in values.indices {
      let (plain, clipped) = (pow(values[token] - returns[token], 2), pow(bounded[token] - returns[token], 2))
      #expect(abs(losses[token] - max(plain, clipped)) < 1e-6)
      #expect(fractions[token] == (clipped > plain ? 1 : 0))
      // Where the clipped error counts, nothing is to be gained.
      if plain != clipped {
        #expect(abs(gradient[token] - (clipped > plain ? 0 : 2 * (values[token] - returns[token]))) < 1e-6)
      }
    }
    #expect(fractions == [0, 1, 0, 0])
  }
}
