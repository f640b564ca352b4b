/// How rewards become advantages, by slime's names.
public enum AdvantageEstimatorKind: String, Sendable, Codable, CaseIterable {
  case grpo, gspo, cispo, ppo
  case reinforcePlusPlus = "reinforce_plus_plus"
  case reinforcePlusPlusBaseline = "reinforce_plus_plus_baseline"
}

/// Advantages of every response token, samples one after another.
///
/// - Parameters:
///   - rewards: one a sample, normalised by group already where the estimator asks for it.
///   - responseLengths: tokens of each response.
///   - masks: 1 where a token is trained on; as long as all responses together.
///   - kl: an estimate a token of the divergence from the reference; nil counts as 0.
///   - klCoefficient: what it weighs in the reward (PPO and REINFORCE++ only).
///   - discount: γ of PPO and of REINFORCE++ (Hu, "REINFORCE++", 2025).
///   - values: what a critic expects from each token on (PPO only); nil counts as 0.
///   - lambda: λ of generalized advantage estimation (Schulman et al., 2016; PPO only).
public func advantages(
  _ kind: AdvantageEstimatorKind, rewards: [Float], responseLengths: [Int], masks: [UInt8], kl: [Float]? = nil,
  klCoefficient: Float = 0, discount: Float = 1, values: [Float]? = nil, lambda: Float = 1
) -> [Float] {
  var result = [Float](repeating: 0, count: masks.count)
  var start = 0
  for (reward, length) in zip(rewards, responseLengths) {
    let range = start..<start + length
    start += length
    switch kind {
    case .grpo, .gspo, .cispo:
      for i in range { result[i] = reward }
    case .reinforcePlusPlusBaseline:
      for i in range { result[i] = reward - klCoefficient * (kl?[i] ?? 0) }
    case .reinforcePlusPlus:
      let last = range.last { masks[$0] == 1 }
      var future: Float = 0
      for i in range.reversed() {
        let divergence = masks[i] == 1 ? kl?[i] ?? 0 : 0
        future = (i == last ? reward : 0) - klCoefficient * divergence + discount * future
        result[i] = future
      }
    case .ppo:
      // Tokens that are not trained on, such as a tool's, take no part: the next trained one follows at once.
      var (tokenReward, nextValue, future) = (reward, Float(0), Float(0))
      for i in range.reversed() where masks[i] == 1 {
        let value = values?[i] ?? 0
        tokenReward -= klCoefficient * (kl?[i] ?? 0)
        future = tokenReward + discount * nextValue - value + discount * lambda * future
        result[i] = future
        (tokenReward, nextValue) = (0, value)
      }
    }
  }
  return result
}

/// What whitening needs of one rank: the masked count, sum and sum of squares of its values.
public struct MaskedMoments: Sendable, Equatable {
  public var count = 0.0
  public var sum = 0.0
  public var squares = 0.0

  public init() {}

  public init(_ values: [Float], masks: [UInt8]) {
    for (value, mask) in zip(values, masks) where mask == 1 {
      count += 1
      sum += Double(value)
      squares += Double(value) * Double(value)
    }
  }

  /// (x − mean) / √(variance + 1e-8), the variance Bessel-corrected; `self` holds the moments of all ranks.
  public func whiten(_ values: [Float]) -> [Float] {
    guard count > 0 else { return values }
    let mean = sum / count
    let variance = max(0, squares / count - mean * mean) * (count > 1 ? count / (count - 1) : 1)
    let scale = 1 / (variance + 1e-8).squareRoot()
    return values.map { Float((Double($0) - mean) * scale) }
  }
}
