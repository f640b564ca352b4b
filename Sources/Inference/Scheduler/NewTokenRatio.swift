/// The share of their remaining `max_new_tokens` that running requests are expected to use.
///
/// Responses mostly end long before `max_new_tokens`, so reserving for all of it would leave most of the KV cache empty.
/// The estimate starts high, decays while decoding goes well, and is raised from what was seen when pages ran out
/// (SGLang's new-token ratio, with its constants).
struct NewTokenRatio: Sendable, Equatable {
  private static let start = 0.7
  private static let floorShare = 0.14
  private static let decaySteps = 600.0
  /// Decode steps that the estimate after a retraction leaves room for.
  private static let retractionHeadroom = 20

  private let initial: Double
  private(set) var value: Double

  init(conservativeness: Double) {
    initial = min(1, Self.start * conservativeness)
    value = initial
  }

  mutating func reset() { value = initial }

  mutating func decay() {
    let floor = initial * Self.floorShare
    value = max(floor, value - (initial - floor) / Self.decaySteps)
  }

  /// Pages ran out with these requests left running.
  mutating func raise(outputTokens: Int, maxNewTokens: Int, requests: Int) {
    guard maxNewTokens > 0 else { return }
    value = min(1, Double(outputTokens + Self.retractionHeadroom * requests) / Double(maxNewTokens))
  }
}
