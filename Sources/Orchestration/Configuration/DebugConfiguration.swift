/// Halves of the loop on their own, and rollouts kept in files. `{rollout_id}` in a path is replaced.
public struct DebugConfiguration: Sendable, Equatable, Codable {
  public var saveRolloutData: String?
  /// Trains on these samples; no engine runs, as with `trainOnly`.
  public var loadRolloutData: String?
  public var trainOnly = false
  public var rolloutOnly = false

  public init() {}

  public var withoutEngine: Bool { trainOnly || loadRolloutData != nil }
}
