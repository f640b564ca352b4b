import Synchronization

/// What the tokens of a vocabulary write: in the middle of a text and, where a tokenizer strips a space there, at its
/// beginning.
public struct TokenTexts: Sendable {
  public let middle: [[UInt8]?]
  public let first: [[UInt8]?]
  fileprivate let middleTrie: TokenTrie
  fileprivate let firstTrie: TokenTrie

  /// - Parameters: the bytes of each token by id; nil: a special token, or none, which no grammar allows.
  public init(middle: [[UInt8]?], first: [[UInt8]?]) {
    (self.middle, self.first) = (middle, first)
    middleTrie = TokenTrie(middle)
    firstTrie = first == middle ? middleTrie : TokenTrie(first)
  }

  public func bytes(_ token: Int, isFirst: Bool) -> [UInt8]? {
    let texts = isFirst ? first : middle
    return texts.indices.contains(token) ? texts[token] : nil
  }
}

/// A grammar for the tokens of a vocabulary: which may come next, in each state.
///
/// Shared by all requests with this grammar; what one has found out is known to the others.
public final class TokenGrammar: Sendable {
  /// Masks are forgotten when they take more memory than this.
  private static let maximumMaskBytes = 64 << 20
  private static let maximumStates = 1 << 17

  private struct Tables {
    var automaton: Automaton
    var masks: [Automaton.State: TokenMask] = [:]
    /// That of the start, when nothing was written.
    var firstMask: TokenMask?
  }

  public let texts: TokenTexts
  private let tables: Mutex<Tables>

  /// - Throws: `GrammarError` when the grammar is too ambiguous to begin with.
  public init(_ grammar: Grammar, _ texts: TokenTexts) throws(GrammarError) {
    self.texts = texts
    tables = Mutex(Tables(automaton: try Automaton(grammar)))
  }

  /// Whether so much was found out that another, new one should be made for the next request.
  public var isLarge: Bool { tables.withLock { $0.automaton.stateCount > Self.maximumStates } }

  public var start: Automaton.State { tables.withLock { $0.automaton.start } }
  public func isAccepting(_ state: Automaton.State) -> Bool { tables.withLock { $0.automaton.isAccepting(state) } }

  /// The state after a token; nil when the grammar does not allow it there.
  public func advance(_ state: Automaton.State, _ token: Int, isFirst: Bool) -> Automaton.State? {
    guard let bytes = texts.bytes(token, isFirst: isFirst), !bytes.isEmpty else { return nil }
    return tables.withLock { $0.automaton.advance(state, bytes) }
  }

  /// The tokens that may come next.
  public func mask(_ state: Automaton.State, isFirst: Bool) -> TokenMask {
    tables.withLock { tables in
      if isFirst {
        if let known = tables.firstMask { return known }
        let mask = texts.firstTrie.mask(&tables.automaton, from: state)
        tables.firstMask = mask
        return mask
      }
      if let known = tables.masks[state] { return known }
      let mask = texts.middleTrie.mask(&tables.automaton, from: state)
      if tables.masks.count * mask.bytes.count > Self.maximumMaskBytes { tables.masks = [:] }
      tables.masks[state] = mask
      return mask
    }
  }
}
