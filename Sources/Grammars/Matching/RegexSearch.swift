/// Looks for a regular expression in a text that grows.
public struct RegexSearch: Sendable {
  private var automaton: Automaton
  /// nil: the text is none, or can be read in too many ways.
  private var state: Automaton.State?

  /// - Throws: `GrammarError` when the expression is malformed, asks for what is not supported, or matches no text.
  public init(_ pattern: String) throws(GrammarError) {
    automaton = try Automaton(Grammar(search: pattern))
    state = automaton.start
  }

  /// Adds bytes; tells whether a part of the text so far matches.
  public mutating func append(_ bytes: some Sequence<UInt8>) -> Bool {
    state = state.flatMap { automaton.advance($0, bytes) }
    return state.map(automaton.isAccepting) ?? false
  }
}
