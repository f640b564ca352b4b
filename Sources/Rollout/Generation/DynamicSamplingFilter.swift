/// Decides whether a finished group is worth training on.
public struct DynamicSamplingFilter: Sendable {
  public enum Decision: Sendable, Equatable {
    case keep
    /// With a word for the count of dropped groups.
    case drop(reason: String)
  }

  public var decide: @Sendable (_ group: [Sample], _ rewardKey: String?) throws -> Decision

  public init(decide: @escaping @Sendable ([Sample], String?) throws -> Decision) { self.decide = decide }

  /// Drops groups whose rewards are all the same, of which nothing can be learned. slime's filter of this name.
  public static let rewardNonzeroStandardDeviation = DynamicSamplingFilter { group, key in
    let rewards = try group.map { sample in
      guard let reward = sample.reward else { throw SampleError("a finished sample has no reward") }
      return try reward.value(key: key)
    }
    // Rewards that were summed in another order differ in their last bits; that is no signal.
    guard unbiasedStandardDeviation(rewards) <= 1e-6, let first = rewards.first else { return .keep }
    return .drop(reason: "zero_std_\(oneDecimal(first))")
  }

  /// The filter that `--dynamic-sampling-filter-path` names.
  /// - Throws: `DatasetError` when there is none of that name.
  public static func named(_ path: String) throws -> DynamicSamplingFilter {
    let known = ["slime.rollout.filter_hub.dynamic_sampling_filters.check_reward_nonzero_std": rewardNonzeroStandardDeviation]
    guard let filter = known[path] else {
      throw DatasetError(
        "--dynamic-sampling-filter-path \(path) is unknown; known: \(known.keys.sorted().joined(separator: ", "))")
    }
    return filter
  }
}

/// Rounded as Python's `round(value, 1)` prints it.
func oneDecimal(_ value: Double) -> String {
  let rounded = (value * 10).rounded(.toNearestOrEven) / 10
  return rounded == 0 ? "0.0" : "\(rounded)"
}
