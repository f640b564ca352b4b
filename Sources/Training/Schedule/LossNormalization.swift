/// What the summed token losses of a step are divided by.
public enum LossNormalization: String, Sendable, Codable {
  /// The mean over a rollout's tokens, then the mean over the step's rollouts.
  case perRollout
  /// The mean over all of the step's tokens (`--calculate-per-token-loss`).
  case perToken
}

/// For each sample, the number of trained tokens of its whole rollout: samples that fan out of one rollout count as one.
/// - Parameter maskSums: Trained tokens of each sample.
public func rolloutMaskSums(_ maskSums: [Int], rolloutIDs: [Int]) -> [Int] {
  var sums: [Int: Int] = [:]
  for (id, sum) in zip(rolloutIDs, maskSums) { sums[id, default: 0] += sum }
  return rolloutIDs.map { sums[$0]! }
}

/// What each sample's masked sum of token losses is multiplied by, so that the sum over a step's samples, wherever they
/// lie, is the step's loss. A sample without trained tokens counts as one token, as in slime.
///
/// - Parameters:
///   - maskSums: Trained tokens of each sample of the step.
///   - rolloutMaskSums: The same of each sample's whole rollout.
///   - rolloutCount: Rollouts in the step.
public func lossWeights(
  maskSums: [Int], rolloutMaskSums: [Int], rolloutCount: Int, normalization: LossNormalization
) -> [Double] {
  switch normalization {
  case .perRollout:
    return rolloutMaskSums.map { 1 / (Double(max($0, 1)) * Double(rolloutCount)) }
  case .perToken:
    let tokens = maskSums.reduce(0) { $0 + max($1, 1) }
    return maskSums.map { _ in 1 / Double(max(tokens, 1)) }
  }
}
