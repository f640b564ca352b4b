import Rollout

/// Scores samples by `--rm-type`; a sample's metadata may name another under `rm_type`.
func rewardFunction(_ name: String?) throws -> @Sendable (Sample) async throws -> Reward {
  let type = try name.map { name throws(SampleError) in try RewardType(name: name) }
  return { sample in
    guard let chosen = try sample.metadata["rm_type"]?.string.map({ try RewardType(name: $0) }) ?? type else {
      throw SampleError("sample \(sample.index ?? 0) names no reward; give --rm-type")
    }
    return try chosen.score(sample)
  }
}
