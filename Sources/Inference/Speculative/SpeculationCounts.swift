/// What became of drafted tokens.
public struct SpeculationCounts: Sendable, Equatable, Codable {
  /// Steps of a request that ran drafts.
  public var verifications = 0
  public var proposedDrafts = 0
  /// Drafts that are in the response.
  public var correctDrafts = 0

  public init() {}

  /// Share of the drafts that were right.
  public var acceptRate: Double { proposedDrafts == 0 ? 0 : Double(correctDrafts) / Double(proposedDrafts) }
  /// Tokens that a step with drafts gave: the right ones and one more.
  public var acceptLength: Double {
    verifications == 0 ? 0 : Double(correctDrafts + verifications) / Double(verifications)
  }

  func adding(proposed: Int, correct: Int) -> SpeculationCounts {
    var sum = self
    sum.verifications += 1
    sum.proposedDrafts += proposed
    sum.correctDrafts += correct
    return sum
  }
}
