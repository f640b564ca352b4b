import Checkpoints

/// How an engine drafts tokens. Names and meaning of the numbers are SGLang's.
public struct SpeculativeOptions: Sendable {
  public enum Algorithm: Sendable {
    /// `NGRAM`: what followed the last tokens where they stood before.
    case ngram(NGramOptions)
    /// `STANDALONE`: what a smaller model with the same vocabulary samples (`--speculative-draft-model-path`).
    case standalone(HuggingFaceFolder)
    /// `EAGLE`: what a draft head on top of the model predicts (`--speculative-draft-model-path`).
    case eagle(HuggingFaceFolder)
    /// `EAGLE3`: the same with a head of that kind.
    case eagle3(HuggingFaceFolder)
    /// `NEXTN`: what the model's own layer for tokens further on predicts.
    case nextN
  }

  public var algorithm: Algorithm
  /// Tokens of a response that one step verifies: the last one and its drafts (`--speculative-num-draft-tokens`).
  public var draftTokens: Int
  /// Steps that the draft model may take, a token each (`--speculative-num-steps`); nil: as many as there are drafts.
  public var steps: Int?
  /// Likeliest tokens that a draft head tries after each of as many drafts (`--speculative-eagle-topk`): with 1 drafts are a
  /// chain, otherwise a tree.
  public var branches: Int

  public init(_ algorithm: Algorithm, draftTokens: Int = 4, steps: Int? = nil, branches: Int = 1) {
    (self.algorithm, self.draftTokens, self.steps, self.branches) = (algorithm, draftTokens, steps, branches)
  }

  /// Most drafts of a response in one step, and most of them one after another.
  var draftCount: Int { draftTokens - 1 }
  var deepestDraft: Int { min(draftTokens - 1, steps ?? .max) }

  /// Whether drafts come from a head on top of the model.
  var usesHead: Bool {
    switch algorithm {
    case .eagle, .eagle3, .nextN: true
    case .ngram, .standalone: false
    }
  }

  func validate() throws(EngineError) {
    guard draftTokens >= 2 else {
      throw EngineError("--speculative-num-draft-tokens \(draftTokens) leaves nothing to draft; it must be at least 2.")
    }
    if let steps, steps < 1 { throw EngineError("--speculative-num-steps must be at least 1, got \(steps).") }
    if case .ngram(let options) = algorithm { try options.validate() }
    try validateBranches()
  }

  private func validateBranches() throws(EngineError) {
    guard branches >= 1 else { throw EngineError("--speculative-eagle-topk must be at least 1, got \(branches).") }
    guard branches > 1 else { return }
    guard usesHead else {
      throw EngineError("--speculative-eagle-topk \(branches) is of draft heads (EAGLE, EAGLE3, NEXTN); leave it out.")
    }
    guard let steps else {
      throw EngineError(
        "--speculative-eagle-topk \(branches) makes drafts a tree, whose depth is --speculative-num-steps; give it too.")
    }
    let most = branches + (steps - 1) * branches * branches
    guard draftCount <= most else {
      throw EngineError(
        "--speculative-num-draft-tokens \(draftTokens) is more than \(steps) steps with \(branches) branches give, which is "
          + "\(most + 1); lower it.")
    }
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
