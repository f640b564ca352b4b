import Checkpoints

/// How an engine drafts tokens. Names and meaning of the numbers are SGLang's.
public struct SpeculativeOptions: Sendable {
  public enum Algorithm: Sendable {
    /// `NGRAM`: what followed the last tokens where they stood before.
    case ngram(NGramOptions)
    /// `STANDALONE`: what a smaller model with the same vocabulary samples (`--speculative-draft-model-path`).
    case standalone(HuggingFaceFolder)
  }

  public var algorithm: Algorithm
  /// Tokens of a response that one step verifies: the last one and its drafts (`--speculative-num-draft-tokens`).
  public var draftTokens: Int
  /// Steps that the draft model may take, a token each (`--speculative-num-steps`); nil: as many as there are drafts.
  public var steps: Int?

  public init(_ algorithm: Algorithm, draftTokens: Int = 4, steps: Int? = nil) {
    (self.algorithm, self.draftTokens, self.steps) = (algorithm, draftTokens, steps)
  }

  /// Most drafts of a response in one step.
  var draftCount: Int { min(draftTokens - 1, steps ?? .max) }

  func validate() throws(EngineError) {
    guard draftTokens >= 2 else {
      throw EngineError("--speculative-num-draft-tokens \(draftTokens) leaves nothing to draft; it must be at least 2.")
    }
    if let steps, steps < 1 { throw EngineError("--speculative-num-steps must be at least 1, got \(steps).") }
    if case .ngram(let options) = algorithm { try options.validate() }
  }
}

public struct NGramOptions: Sendable, Equatable {
  /// Fewest and most last tokens that are looked for (`--speculative-ngram-min-match-window-size` and `max`).
  public var shortestMatch = 1
  public var longestMatch = 12
  /// Tokens of other responses, the latest, that are looked through as well; 0: only the request's own.
  public var sharedCapacity = 1 << 20

  public init() {}

  func validate() throws(EngineError) {
    guard shortestMatch >= 1, longestMatch >= shortestMatch else {
      throw EngineError(
        "The match window of NGRAM must be of at least 1 and at most as many tokens as its longest, got \(shortestMatch) "
          + "and \(longestMatch).")
    }
    guard sharedCapacity >= 0 else {
      throw EngineError("The capacity of NGRAM cannot be negative, got \(sharedCapacity).")
    }
  }
}
