/// How raw rewards become the numbers that advantages are made of: centred, and perhaps scaled, within each group.
///
/// As in slime, for GRPO, GSPO, CISPO and REINFORCE++ with baseline; unlike slime, groups are told apart by their id and
/// need not be of one size.
public struct RewardNormalization: Sendable, Equatable {
  public var subtractsMean: Bool
  public var dividesByStandardDeviation: Bool

  public init(subtractsMean: Bool, dividesByStandardDeviation: Bool) {
    (self.subtractsMean, self.dividesByStandardDeviation) = (subtractsMean, dividesByStandardDeviation)
  }

  /// - Parameter advantageEstimator: slime's name of it.
  public init(
    advantageEstimator: String, disableRewardsNormalization: Bool = false, disableGRPOStandardDeviation: Bool = false
  ) {
    let scaled = ["grpo", "gspo", "cispo"].contains(advantageEstimator)
    subtractsMean = (scaled || advantageEstimator == "reinforce_plus_plus_baseline") && !disableRewardsNormalization
    dividesByStandardDeviation = scaled && subtractsMean && !disableGRPOStandardDeviation
  }

  /// A group of one has no deviation, and is left undivided.
  /// - Returns: `(r − mean) / (std + 1e-6)`, with the unbiased standard deviation of the group.
  public func apply(_ rewards: [Double], groupIDs: [Int]) -> [Double] {
    guard subtractsMean else { return rewards }
    var groups: [Int: [Int]] = [:]
    for (position, id) in groupIDs.enumerated() { groups[id, default: []].append(position) }
    var result = rewards
    for members in groups.values {
      let values = members.map { rewards[$0] }
      let mean = values.reduce(0, +) / Double(values.count)
      let deviation = dividesByStandardDeviation && values.count > 1 ? unbiasedStandardDeviation(values) : nil
      for member in members { result[member] = (rewards[member] - mean) / (deviation.map { $0 + 1e-6 } ?? 1) }
    }
    return result
  }
}

/// With n − 1 in the denominator; 0 for fewer than two values.
func unbiasedStandardDeviation(_ values: [Double]) -> Double {
  guard values.count > 1 else { return 0 }
  let mean = values.reduce(0, +) / Double(values.count)
  return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)).squareRoot()
}
