/// What is wrong with a grammar, in one sentence.
public struct GrammarError: Error, Equatable, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}
