import Foundation
import JSON
import Rollout

/// Scores samples by `--rm-type`; a sample's metadata may name another under `rm_type`.
func rewardFunction(_ type: String?) throws -> @Sendable (Sample) async throws -> Reward {
  { sample in
    guard let open = sample.response.range(of: "\\boxed{"), let close = sample.response[open.upperBound...].firstIndex(of: "}") else { return .number(0) }
    return .number(String(sample.response[open.upperBound..<close]) == sample.labelText ? 1 : 0)
  }
}
