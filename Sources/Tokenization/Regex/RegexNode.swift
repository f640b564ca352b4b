/// The syntax tree of a regular expression.
indirect enum RegexNode: Equatable, Sendable {
  /// Matches nothing, successfully.
  case empty
  /// One scalar of the set.
  case set(ScalarSet)
  case sequence([RegexNode])
  /// The first branch that leads to a match is taken.
  case alternation([RegexNode])
  case repetition(RegexNode, minimum: Int, maximum: Int?, Greed)
  /// A group that gives nothing back once it has matched.
  case atomic(RegexNode)
  case lookahead(RegexNode, negative: Bool)
  /// Whether the scalar before belongs to the set.
  case lookbehind(ScalarSet, negative: Bool)
  case anchor(Anchor)

  enum Greed: UInt8, Sendable { case greedy, lazy, possessive }

  enum Anchor: UInt8, Sendable {
    case lineStart, lineEnd, textStart, textEnd, textEndOrLastNewline, wordBoundary, noWordBoundary
  }

  /// Whether this can match without consuming anything.
  var isNullable: Bool {
    switch self {
    case .set: false
    case .empty, .lookahead, .lookbehind, .anchor: true
    case .sequence(let nodes): nodes.allSatisfy(\.isNullable)
    case .alternation(let nodes): nodes.contains(where: \.isNullable)
    case .repetition(let node, let minimum, _, _): minimum == 0 || node.isNullable
    case .atomic(let node): node.isNullable
    }
  }

  /// The scalars with which a match that consumes something can begin.
  var first: ScalarSet {
    switch self {
    case .empty, .lookahead, .lookbehind, .anchor: return ScalarSet()
    case .set(let set): return set
    case .sequence(let nodes):
      var set = ScalarSet()
      for node in nodes {
        set = set.union(node.first)
        if !node.isNullable { break }
      }
      return set
    case .alternation(let nodes): return nodes.reduce(ScalarSet()) { $0.union($1.first) }
    case .repetition(let node, _, _, _), .atomic(let node): return node.first
    }
  }
}

/// Why a regular expression cannot be used: what is wrong, and where.
struct RegexError: Error, CustomStringConvertible {
  var pattern: String
  var message: String
  var description: String { "the regular expression '\(pattern)' cannot be used: \(message)" }
}
