import Grammars

/// An automaton behind a reference, so that expectations may ask it.
final class Recogniser {
  private var automaton: Automaton

  init(_ source: GrammarSource) throws { automaton = try Automaton(Grammar(source)) }

  var start: Automaton.State { automaton.start }
  func matches(_ text: some Sequence<UInt8>) -> Bool { automaton.matches(text) }
  func advance(_ state: Automaton.State, _ bytes: [UInt8]) -> Automaton.State? { automaton.advance(state, bytes) }
  func isAccepting(_ state: Automaton.State) -> Bool { automaton.isAccepting(state) }
}
