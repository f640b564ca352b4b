/// A context-free grammar over bytes, whose texts are UTF-8.
public struct Grammar: Sendable {
  enum Node: Hashable, Sendable {
    /// One byte of a set.
    case bytes(ByteSet)
    case sequence([Int])
    /// Any of several; none: matches nothing.
    case choice([Int])
    /// `maximum` nil: as often as one likes.
    case repetition(Int, minimum: Int, maximum: Int?)
    /// What the rule with this number is.
    case rule(Int)
  }

  /// Nodes refer to one another by index.
  let nodes: [Node]
  /// The node that each rule stands for.
  let rules: [Int]
  let root: Int

  /// - Throws: `GrammarError` when the source is malformed, asks for what is not supported, or matches no text.
  public init(_ source: GrammarSource) throws(GrammarError) {
    let builder = GrammarBuilder()
    let root =
      switch source {
      case .regex(let pattern): try RegexCompiler(builder).wholeMatch(RegexParser.parse(pattern))
      case .jsonSchema(let text): try SchemaCompiler(text, builder).compile()
      case .ebnf(let text): try EBNFParser.parse(text, builder)
      }
    self = try builder.finish(root)
  }

  /// The texts in which a part matches a regular expression.
  init(search pattern: String) throws(GrammarError) {
    let builder = GrammarBuilder()
    self = try builder.finish(RegexCompiler(builder).partMatch(RegexParser.parse(pattern)))
  }

  init(nodes: [Node], rules: [Int], root: Int) { (self.nodes, self.rules, self.root) = (nodes, rules, root) }
}

/// What a response must match, as clients write it (SGLang's `regex`, `json_schema` and `ebnf`).
public enum GrammarSource: Sendable, Hashable {
  case regex(String)
  case jsonSchema(String)
  case ebnf(String)
}
