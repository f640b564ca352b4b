import JSON
import Rollout

/// Scores samples by `--rm-type`; a sample's metadata may name another under `rm_type`.
func rewardFunction(_ type: String?) throws -> @Sendable (Sample) async throws -> Reward {
  { _ in .number(0) }
}
