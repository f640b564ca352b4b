/// An expression of a template, with the line where it starts.
final class JinjaExpression: Sendable {
  enum Form: Sendable {
    case none
    case bool(Bool)
    case int(Int)
    case float(Double)
    case string(String)
    case name(String)
    case tuple([JinjaExpression])
    case list([JinjaExpression])
    case dictionary([(key: JinjaExpression, value: JinjaExpression)])
    case attribute(JinjaExpression, String)
    case item(JinjaExpression, JinjaExpression)
    case slice(JinjaExpression?, JinjaExpression?, JinjaExpression?)
    case call(JinjaExpression, JinjaCallArguments)
    /// A filter without a value stands at the head of a block and takes the block's text.
    case filter(JinjaExpression?, String, JinjaCallArguments)
    case test(JinjaExpression, String, JinjaCallArguments)
    case not(JinjaExpression)
    case unary(String, JinjaExpression)
    case binary(String, JinjaExpression, JinjaExpression)
    case and(JinjaExpression, JinjaExpression)
    case or(JinjaExpression, JinjaExpression)
    case compare(JinjaExpression, [(symbol: String, value: JinjaExpression)])
    case concatenation([JinjaExpression])
    case conditional(test: JinjaExpression, then: JinjaExpression, else: JinjaExpression?)
  }

  static let maximumDepth = 1000

  let form: Form
  let line: Int
  /// How deep the tree below is. It is bounded because a tree is walked, and freed, by recursion.
  let depth: Int

  init(_ form: Form, line: Int) throws {
    (self.form, self.line) = (form, line)
    depth = 1 + (form.children.lazy.map(\.depth).max() ?? 0)
    guard depth <= Self.maximumDepth else {
      throw ChatTemplateError(line: line, message: "an expression is nested deeper than \(Self.maximumDepth) levels.")
    }
  }
}

extension JinjaExpression.Form {
  fileprivate var children: [JinjaExpression] {
    switch self {
    case .none, .bool, .int, .float, .string, .name: []
    case .tuple(let items), .list(let items), .concatenation(let items): items
    case .dictionary(let pairs): pairs.flatMap { [$0.key, $0.value] }
    case .attribute(let value, _), .not(let value), .unary(_, let value): [value]
    case .item(let a, let b), .binary(_, let a, let b), .and(let a, let b), .or(let a, let b): [a, b]
    case .slice(let start, let stop, let step): [start, stop, step].compactMap { $0 }
    case .call(let value, let arguments), .test(let value, _, let arguments): [value] + arguments.all
    case .filter(let value, _, let arguments): (value.map { [$0] } ?? []) + arguments.all
    case .compare(let first, let operands): [first] + operands.map(\.value)
    case .conditional(let test, let then, let otherwise): [test, then] + (otherwise.map { [$0] } ?? [])
    }
  }
}

/// What stands between the parentheses of a call.
struct JinjaCallArguments: Sendable {
  var positional: [JinjaExpression] = []
  var keyword: [(name: String, value: JinjaExpression)] = []
  var spreadPositional: JinjaExpression?
  var spreadKeyword: JinjaExpression?

  var all: [JinjaExpression] {
    positional + keyword.map(\.value) + [spreadPositional, spreadKeyword].compactMap { $0 }
  }
}

/// What an assignment writes to.
indirect enum JinjaTarget: Sendable {
  case name(String)
  case attribute(namespace: String, name: String)
  case tuple([JinjaTarget])
}

/// The parameters and body of a macro or of the caller block of `{% call %}`.
final class JinjaMacroDefinition: Sendable {
  let name: String
  let parameters: [(name: String, standard: JinjaExpression?)]
  let body: [JinjaStatement]
  /// Which of `caller`, `kwargs` and `varargs` the body reads: a macro accepts only what it reads.
  let special: Set<String>

  init(
    name: String, parameters: [(name: String, standard: JinjaExpression?)], body: [JinjaStatement],
    special: Set<String>
  ) {
    (self.name, self.parameters, self.body, self.special) = (name, parameters, body, special)
  }
}

/// A `{% for %}` with its filter and its else branch.
struct JinjaLoop: Sendable {
  var target: JinjaTarget
  var iterable: JinjaExpression
  var test: JinjaExpression?
  var isRecursive: Bool
  var body: [JinjaStatement]
  var otherwise: [JinjaStatement]
}

/// A statement of a template, with the line where it starts.
final class JinjaStatement: Sendable {
  enum Form: Sendable {
    case text(String)
    case output(JinjaExpression)
    case conditional([(test: JinjaExpression, body: [JinjaStatement])], otherwise: [JinjaStatement])
    case loop(JinjaLoop)
    case set(JinjaTarget, JinjaExpression)
    case setBlock(JinjaTarget, filter: JinjaExpression?, body: [JinjaStatement])
    case with([(target: JinjaTarget, value: JinjaExpression)], body: [JinjaStatement])
    case macro(JinjaMacroDefinition)
    case call(JinjaExpression, caller: JinjaMacroDefinition)
    case filter(JinjaExpression, body: [JinjaStatement])
    case generation([JinjaStatement])
    case breakLoop
    case continueLoop
  }

  let form: Form
  let line: Int

  init(_ form: Form, line: Int) { (self.form, self.line) = (form, line) }
}
