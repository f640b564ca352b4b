/// Reads tokens into statements. `JinjaParser+Expressions.swift` holds the grammar of expressions.
struct JinjaParser {
  static let maximumDepth = 120

  private var tokens: [JinjaToken]
  private var index = 0
  var depth = 0
  /// The special names (`caller`, `kwargs`, `varargs`) read in each macro that is open.
  var special: [Set<String>] = []
  private var loopDepth = 0

  static func parse(_ source: String) throws -> [JinjaStatement] {
    var parser = JinjaParser(tokens: try JinjaLexer.tokens(of: source))
    return try parser.statements(until: [])
  }

  private init(tokens: [JinjaToken]) { self.tokens = tokens }

  // MARK: - Tokens

  var current: JinjaToken { tokens[index] }
  var following: JinjaToken { tokens[min(index + 1, tokens.count - 1)] }

  mutating func advance() { if index < tokens.count - 1 { index += 1 } }

  func isSymbol(_ symbol: String) -> Bool { current.kind == .symbol(symbol) }
  func isName(_ name: String) -> Bool { current.kind == .name(name) }

  mutating func skip(symbol: String) -> Bool {
    guard isSymbol(symbol) else { return false }
    advance()
    return true
  }

  mutating func skip(name: String) -> Bool {
    guard isName(name) else { return false }
    advance()
    return true
  }

  func unexpected(_ wanted: String) -> ChatTemplateError {
    ChatTemplateError(line: current.line, message: "\(current.words) stands where \(wanted) is expected.")
  }

  mutating func expect(_ kind: JinjaToken.Kind) throws {
    guard current.kind == kind else { throw unexpected(JinjaToken(kind: kind, line: 0).words) }
    advance()
  }

  mutating func expect(symbol: String) throws { try expect(.symbol(symbol)) }

  mutating func expectName() throws -> String {
    guard case .name(let name) = current.kind else { throw unexpected("a name") }
    advance()
    return name
  }

  /// Runs a reader one level deeper, so that a nesting bomb is an error and not a stack overflow.
  mutating func nested<R>(_ read: (inout Self) throws -> R) throws -> R {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else {
      throw ChatTemplateError(line: current.line, message: "the template is nested deeper than \(Self.maximumDepth) levels.")
    }
    return try read(&self)
  }

  // MARK: - Statements

  /// Reads up to a tag with one of the names in `ends`, whose name stays the current token.
  private mutating func statements(until ends: Set<String>) throws -> [JinjaStatement] {
    let start = current.line
    var body: [JinjaStatement] = []
    while true {
      let line = current.line
      switch current.kind {
      case .text(let text):
        advance()
        body.append(JinjaStatement(.text(text), line: line))
      case .variableBegin:
        advance()
        body.append(JinjaStatement(.output(try tupleOrExpression()), line: line))
        try expect(.variableEnd)
      case .blockBegin:
        advance()
        guard case .name(let name) = current.kind else { throw unexpected("the name of a tag") }
        if ends.contains(name) { return body }
        body.append(contentsOf: try nested { try $0.statement(name) })
        try expect(.blockEnd)
      case .end:
        guard ends.isEmpty else {
          throw ChatTemplateError(
            line: start, message: "the template ends before '{% \(ends.sorted().joined(separator: " %}' or '{% ")) %}'.")
        }
        return body
      default:
        throw unexpected("text or a tag")
      }
    }
  }

  /// The body of a block tag: from the end of its head to the tag that closes it, whose name is returned and passed.
  private mutating func body(until ends: String...) throws -> (statements: [JinjaStatement], end: String) {
    _ = skip(symbol: ":")
    try expect(.blockEnd)
    let statements = try statements(until: Set(ends))
    return (statements, try expectName())
  }

  private mutating func statement(_ name: String) throws -> [JinjaStatement] {
    let line = current.line
    advance()
    switch name {
    case "if": return [JinjaStatement(try conditional(), line: line)]
    case "for": return [JinjaStatement(.loop(try loop()), line: line)]
    case "set": return [JinjaStatement(try assignment(), line: line)]
    case "macro":
      let name = try expectName()
      return [JinjaStatement(.macro(try macro(name, parameters: try parameters(), end: "endmacro")), line: line)]
    case "call":
      let parameters = isSymbol("(") ? try parameters() : []
      let call = try expression()
      guard case .call = call.form else { throw ChatTemplateError(line: line, message: "'call' needs a call of a macro.") }
      return [JinjaStatement(.call(call, caller: try macro("caller", parameters: parameters, end: "endcall")), line: line)]
    case "filter":
      let filter = try filters(nil, startsWithName: true)!
      return [JinjaStatement(.filter(filter, body: try body(until: "endfilter").statements), line: line)]
    case "with": return [JinjaStatement(try with(), line: line)]
    case "generation": return [JinjaStatement(.generation(try body(until: "endgeneration").statements), line: line)]
    case "print":
      var outputs: [JinjaStatement] = []
      while current.kind != .blockEnd {
        if !outputs.isEmpty { try expect(symbol: ",") }
        outputs.append(JinjaStatement(.output(try expression()), line: line))
      }
      return outputs
    case "break", "continue":
      guard loopDepth > 0 else { throw ChatTemplateError(line: line, message: "'\(name)' stands outside of a loop.") }
      return [JinjaStatement(name == "break" ? .breakLoop : .continueLoop, line: line)]
    case "include", "import", "from", "extends", "block", "autoescape", "do":
      throw ChatTemplateError(line: line, message: "the tag '\(name)' is not available in chat templates.")
    default:
      throw ChatTemplateError(line: line, message: "there is no tag '\(name)' that could stand here.")
    }
  }

  private mutating func conditional() throws -> JinjaStatement.Form {
    var branches: [(test: JinjaExpression, body: [JinjaStatement])] = []
    while true {
      let test = try tupleOrExpression(conditional: false)
      let (statements, end) = try body(until: "elif", "else", "endif")
      branches.append((test, statements))
      if end == "elif" { continue }
      let otherwise = end == "else" ? try body(until: "endif").statements : []
      return .conditional(branches, otherwise: otherwise)
    }
  }

  private mutating func loop() throws -> JinjaLoop {
    let target = try target(endsAt: "in")
    guard skip(name: "in") else { throw unexpected("'in'") }
    let iterable = try tupleOrExpression(conditional: false, endsAt: "recursive")
    let test = skip(name: "if") ? try expression() : nil
    let isRecursive = skip(name: "recursive")
    loopDepth += 1
    let (statements, end) = try body(until: "endfor", "else")
    loopDepth -= 1
    let otherwise = end == "else" ? try body(until: "endfor").statements : []
    return JinjaLoop(
      target: target, iterable: iterable, test: test, isRecursive: isRecursive, body: statements, otherwise: otherwise)
  }

  private mutating func assignment() throws -> JinjaStatement.Form {
    let target = try target(allowsAttribute: true)
    if skip(symbol: "=") { return .set(target, try tupleOrExpression()) }
    let filter = isSymbol("|") ? try filters(nil, startsWithName: false) : nil
    return .setBlock(target, filter: filter, body: try body(until: "endset").statements)
  }

  private mutating func with() throws -> JinjaStatement.Form {
    var bindings: [(target: JinjaTarget, value: JinjaExpression)] = []
    while current.kind != .blockEnd {
      if !bindings.isEmpty { try expect(symbol: ",") }
      let target = try target()
      try expect(symbol: "=")
      bindings.append((target, try expression()))
    }
    return .with(bindings, body: try body(until: "endwith").statements)
  }

  private mutating func parameters() throws -> [(name: String, standard: JinjaExpression?)] {
    var result: [(name: String, standard: JinjaExpression?)] = []
    try expect(symbol: "(")
    while !isSymbol(")") {
      if !result.isEmpty { try expect(symbol: ",") }
      let name = try expectName()
      let standard = skip(symbol: "=") ? try expression() : nil
      if standard == nil, result.last?.standard != nil {
        throw ChatTemplateError(line: current.line, message: "the parameter '\(name)' needs a default, as the one before has.")
      }
      result.append((name, standard))
    }
    try expect(symbol: ")")
    return result
  }

  private mutating func macro(
    _ name: String, parameters: [(name: String, standard: JinjaExpression?)], end: String
  ) throws -> JinjaMacroDefinition {
    special.append([])
    let outerLoops = loopDepth
    loopDepth = 0
    let statements = try body(until: end).statements
    loopDepth = outerLoops
    let read = special.removeLast().subtracting(parameters.map(\.name))
    return JinjaMacroDefinition(name: name, parameters: parameters, body: statements, special: read)
  }

  private mutating func target(allowsAttribute: Bool = false, endsAt end: String? = nil) throws -> JinjaTarget {
    var targets: [JinjaTarget] = []
    var isTuple = false
    repeat {
      if let end, isName(end) { break }
      if isSymbol("=") || current.kind == .blockEnd { break }
      targets.append(try nested { try $0.simpleTarget(allowsAttribute: allowsAttribute) })
      if isSymbol(",") { isTuple = true }
    } while skip(symbol: ",")
    if !isTuple, let only = targets.first { return only }
    guard isTuple else { throw unexpected("a name to assign to") }
    return .tuple(targets)
  }

  private mutating func simpleTarget(allowsAttribute: Bool) throws -> JinjaTarget {
    if skip(symbol: "(") {
      var targets: [JinjaTarget] = []
      var isTuple = false
      while !isSymbol(")") {
        targets.append(try nested { try $0.simpleTarget(allowsAttribute: allowsAttribute) })
        guard skip(symbol: ",") else { break }
        isTuple = true
      }
      try expect(symbol: ")")
      return !isTuple && targets.count == 1 ? targets[0] : .tuple(targets)
    }
    let line = current.line
    let name = try expectName()
    guard !["true", "false", "none", "True", "False", "None", "loop"].contains(name) else {
      throw ChatTemplateError(line: line, message: "'\(name)' cannot be assigned to.")
    }
    if allowsAttribute, skip(symbol: ".") { return .attribute(namespace: name, name: try expectName()) }
    return .name(name)
  }
}
