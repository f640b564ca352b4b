/// Guesses how responses go on, for the model to verify: a guess costs time when it is wrong, and never changes a
/// response.
///
/// Lives on the engine's thread, beside the first rank; the plan carries the drafts to the others.
package protocol Drafter: AnyObject {
  /// Drafts for responses that are being decoded: of each the tokens that may come next, at most its `limit`.
  /// - Throws: what fails the step.
  func draft(_ requests: [DraftRequest]) throws -> [[Int]]

  /// A response is over, with these tokens of prompt and response.
  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace)

  /// What it computed may be forgotten: memory is wanted, or weights have changed.
  func forget()
}

/// A response that is being decoded.
package struct DraftRequest {
  package let id: String
  /// Prompt and response so far.
  package let tokens: [Int]
  package let promptCount: Int
  /// Most drafts that can be of use; at least 1.
  package let limit: Int
  /// Whose tokens its drafts may be made of.
  package let namespace: CacheNamespace
  /// How its next token will be sampled: a drafter that samples alike is right more often.
  package let response: ResponseState
}
