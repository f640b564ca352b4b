import Rollout

/// Scores samples by `--rm-type`; a sample's metadata may name another under `rm_type`.
/// - Parameter standard: of samples for which nothing is named; nil: they are an error.
func rewardFunction(_ name: String?, standard: Reward? = nil) throws -> @Sendable (Sample) async throws -> Reward {
  let type = try name.map { name throws(SampleError) in try RewardType(name: name) }
  return { sample in
    let chosen = try sample.metadata["rm_type"]?.string.map({ try RewardType(name: $0) }) ?? type
    guard let chosen else {
      if let standard { return standard }
      throw SampleError("sample \(sample.index ?? 0) names no reward; give --rm-type")
    }
    return try chosen.score(sample)
  }
}
