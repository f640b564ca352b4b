/// Which waiting request is admitted next, among those of equal priority. Names are SGLang's.
public enum SchedulePolicy: String, Sendable, Equatable, Codable, CaseIterable {
  /// First come, first served. What a training step waits for is its last response, so none may be passed over for long.
  case fcfs
  /// The one with the longest prefix in the cache, while few wait; then as `fcfs`.
  case longestPrefixMatch = "lpm"
}
