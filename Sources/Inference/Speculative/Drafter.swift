/// Guesses how responses go on, for the model to verify: a guess costs time when it is wrong, and never changes a
/// response.
///
/// Lives on the engine's thread, beside the first rank; the plan carries the drafts to the others.
package protocol Drafter: AnyObject {
  /// What a token takes of the first rank's memory, beside the engine's own KV cache.
  var cacheBytesPerToken: Int { get }

  /// The engine is about to start, with a cache and limits of this size.
  func prepare(_ configuration: SchedulerConfiguration) throws

  /// Drafts for responses that are being decoded: of each what may come next, at most `limit` tokens deep.
  /// - Throws: what fails the step.
  func draft(_ requests: [DraftRequest]) throws -> [DraftTree]

  /// These positions were computed, and those of drafts that were wrong are gone.
  /// - Throws: what fails the step.
  func follow(_ computed: [ComputedTokens]) throws

  /// A response is over, with these tokens of prompt and response.
  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace)

  /// What it computed is forgotten: memory is wanted, or the engine's weights have changed.
  func forget()

  /// Lets memory go, which is asked for when nothing runs, and takes it back.
  func release(_ tags: Set<MemoryTag>) throws
  func resume(_ tags: Set<MemoryTag>) throws

  /// - Throws: what is wrong with what it holds.
  func checkIntegrity() throws
}

/// Of a drafter that computes nothing with tensors.
extension Drafter {
  package func follow(_ computed: [ComputedTokens]) {}
  package var cacheBytesPerToken: Int { 0 }
  package func prepare(_ configuration: SchedulerConfiguration) {}
  package func forget() {}
  package func release(_ tags: Set<MemoryTag>) {}
  package func resume(_ tags: Set<MemoryTag>) {}
  package func checkIntegrity() {}
}

/// A response that is being decoded.
package struct DraftRequest {
  package let id: String
  /// Prompt and response so far.
  package let tokens: [Int]
  package let promptCount: Int
  /// The engine's page table of all tokens but the last.
  package let pages: [Int]
  /// Most drafts one after another that can be of use; at least 1.
  package let limit: Int
  /// Whose tokens its drafts may be made of.
  package let namespace: CacheNamespace
  /// How its next token will be sampled: a drafter that samples alike is right more often.
  package let response: ResponseState
}

/// Tokens of a request whose KV has just been computed and is kept.
package struct ComputedTokens: Sendable {
  /// Position of the first in its request.
  package let start: Int
  package let tokens: [Int]
  /// The engine's page table.
  package let pages: [Int]
}
