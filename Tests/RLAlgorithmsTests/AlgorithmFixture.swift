import Foundation
import RLAlgorithms
import TestSupport
import Torch

/// What Scripts/make_algorithm_fixtures.py computed: one batch of ragged responses, tokens one sample after another.
struct AlgorithmFixture: Decodable {
  struct Advantages: Decodable {
    struct Case: Decodable {
      let estimator: AdvantageEstimatorKind
      let klCoefficient: Float
      let discount: Float
      let expected: [Float]
    }
    let rewards: [Float]
    let kl: [Float]
    let cases: [Case]
  }

  struct Whitening: Decodable {
    let values: [Float]
    let expected: [Float]
  }

  struct KL: Decodable {
    struct Case: Decodable {
      let kind: KLEstimatorKind
      let expected: [Float]
      let gradient: [Float]
    }
    let logProbs: [Float]
    let reference: [Float]
    let weights: [Float]
    let cases: [Case]
  }

  struct Policy: Decodable {
    struct Case: Decodable {
      let estimator: AdvantageEstimatorKind
      let clipLow: Double
      let clipHigh: Double
      let clipDual: Double?
      let loss: [Float]
      let clipFraction: [Float]
      let kl: [Float]
      let gradient: [Float]

      var options: PolicyLossOptions {
        var options = PolicyLossOptions()
        (options.estimator, options.clipLow, options.clipHigh, options.clipDual) = (estimator, clipLow, clipHigh, clipDual)
        return options
      }
    }
    let logProbs: [Float]
    let old: [Float]
    let advantages: [Float]
    let weights: [Float]
    let cases: [Case]
  }

  struct Importance: Decodable {
    struct Case: Decodable {
      let low: Double
      let high: Double
      let clamped: [Float]
    }
    let train: [Float]
    let rollout: [Float]
    let raw: [Float]
    let cases: [Case]
  }

  let responseLengths: [Int]
  let masks: [UInt8]
  let advantages: Advantages
  let whitening: Whitening
  let kl: KL
  let policy: Policy
  let importance: Importance

  static let shared = Result {
    try JSONDecoder().decode(AlgorithmFixture.self, from: Data(contentsOf: fixture("algorithms.json")))
  }

  /// The masked mean of each token's response, at every token.
  func sequenceMean(_ values: Tensor) -> Tensor {
    var start = 0
    let means = responseLengths.map { count in
      let range = start..<start + count
      start = range.upperBound
      let mask = Tensor(masks[range].map { Float($0) })
      let part = values.narrow(0, start: range.lowerBound, length: count)
      return ((part * mask).sum() / mask.sum().clampMin(1)).expand([count])
    }
    return Tensor.cat(means)
  }
}

/// The largest |a − b| / max(1, |b|); infinite where the counts differ or something is not a number.
func difference(_ a: [Float], _ b: [Float]) -> Float {
  guard a.count == b.count else { return .infinity }
  return zip(a, b).reduce(0) { worst, pair in
    let value = abs(pair.0 - pair.1) / max(1, abs(pair.1))
    return value.isNaN ? .infinity : max(worst, value)
  }
}
