/// Expressions, from the weakest operator to the strongest.
extension JinjaParser {
  mutating func expression(conditional: Bool = true) throws -> JinjaExpression {
    try nested { try conditional ? $0.conditionalExpression() : $0.disjunction() }
  }

  /// One expression, or several with commas between them, which make a tuple.
  mutating func tupleOrExpression(
    conditional: Bool = true, endsAt end: String? = nil, parenthesised: Bool = false
  ) throws -> JinjaExpression {
    let line = current.line
    var items: [JinjaExpression] = []
    var isTuple = false
    while !endsTuple(end) {
      items.append(try expression(conditional: conditional))
      guard skip(symbol: ",") else { break }
      isTuple = true
    }
    if !isTuple {
      if let only = items.first { return only }
      guard parenthesised else { throw unexpected("an expression") }
    }
    return try JinjaExpression(.tuple(items), line: line)
  }

  private func endsTuple(_ end: String?) -> Bool {
    if let end, isName(end) { return true }
    return current.kind == .variableEnd || current.kind == .blockEnd || isSymbol(")")
  }

  private mutating func conditionalExpression() throws -> JinjaExpression {
    var result = try disjunction()
    while isName("if") {
      let line = current.line
      advance()
      let test = try disjunction()
      let otherwise = skip(name: "else") ? try nested { try $0.conditionalExpression() } : nil
      result = try JinjaExpression(.conditional(test: test, then: result, else: otherwise), line: line)
    }
    return result
  }

  private mutating func chain(
    of operators: [String], _ operand: (inout Self) throws -> JinjaExpression
  ) throws -> JinjaExpression {
    var left = try operand(&self)
    while case .symbol(let symbol) = current.kind, operators.contains(symbol) {
      let line = current.line
      advance()
      left = try JinjaExpression(.binary(symbol, left, try operand(&self)), line: line)
    }
    return left
  }

  private mutating func disjunction() throws -> JinjaExpression {
    var left = try conjunction()
    while isName("or") {
      let line = current.line
      advance()
      left = try JinjaExpression(.or(left, try conjunction()), line: line)
    }
    return left
  }

  private mutating func conjunction() throws -> JinjaExpression {
    var left = try negation()
    while isName("and") {
      let line = current.line
      advance()
      left = try JinjaExpression(.and(left, try negation()), line: line)
    }
    return left
  }

  private mutating func negation() throws -> JinjaExpression {
    let line = current.line
    guard skip(name: "not") else { return try comparison() }
    return try JinjaExpression(.not(try nested { try $0.negation() }), line: line)
  }

  private mutating func comparison() throws -> JinjaExpression {
    let line = current.line
    let first = try sum()
    var operands: [(symbol: String, value: JinjaExpression)] = []
    while true {
      if case .symbol(let symbol) = current.kind, ["==", "!=", "<", "<=", ">", ">="].contains(symbol) {
        advance()
        operands.append((symbol, try sum()))
      } else if skip(name: "in") {
        operands.append(("in", try sum()))
      } else if isName("not"), following.kind == .name("in") {
        advance()
        advance()
        operands.append(("not in", try sum()))
      } else {
        return try operands.isEmpty ? first : JinjaExpression(.compare(first, operands), line: line)
      }
    }
  }

  private mutating func sum() throws -> JinjaExpression { try chain(of: ["+", "-"]) { try $0.concatenation() } }

  private mutating func concatenation() throws -> JinjaExpression {
    let line = current.line
    var items = [try product()]
    while skip(symbol: "~") { items.append(try product()) }
    return try items.count == 1 ? items[0] : JinjaExpression(.concatenation(items), line: line)
  }

  private mutating func product() throws -> JinjaExpression {
    try chain(of: ["*", "/", "//", "%"]) { try $0.chain(of: ["**"]) { try $0.unary() } }
  }

  private mutating func unary(takesFilters: Bool = true) throws -> JinjaExpression {
    let line = current.line
    var node: JinjaExpression
    if isSymbol("-") || isSymbol("+") {
      let symbol = isSymbol("-") ? "-" : "+"
      advance()
      node = try JinjaExpression(.unary(symbol, try nested { try $0.unary(takesFilters: false) }), line: line)
    } else {
      node = try primary()
    }
    node = try postfix(node)
    return takesFilters ? try filtersAndTests(node) : node
  }

  private mutating func primary() throws -> JinjaExpression {
    let line = current.line
    switch current.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try JinjaExpression(.bool(true), line: line)
      case "false", "False": return try JinjaExpression(.bool(false), line: line)
      case "none", "None": return try JinjaExpression(.none, line: line)
      case "caller", "kwargs", "varargs":
        for i in special.indices { special[i].insert(name) }
        return try JinjaExpression(.name(name), line: line)
      default: return try JinjaExpression(.name(name), line: line)
      }
    case .string(var text):
      advance()
      while case .string(let more) = current.kind {
        advance()
        text += more
      }
      return try JinjaExpression(.string(text), line: line)
    case .integer(let value):
      advance()
      return try JinjaExpression(.int(value), line: line)
    case .float(let value):
      advance()
      return try JinjaExpression(.float(value), line: line)
    case .symbol("("):
      advance()
      let inner = try tupleOrExpression(parenthesised: true)
      try expect(symbol: ")")
      return inner
    case .symbol("["):
      advance()
      var items: [JinjaExpression] = []
      while !isSymbol("]") {
        items.append(try expression())
        guard skip(symbol: ",") else { break }
      }
      try expect(symbol: "]")
      return try JinjaExpression(.list(items), line: line)
    case .symbol("{"):
      advance()
      var pairs: [(key: JinjaExpression, value: JinjaExpression)] = []
      while !isSymbol("}") {
        let key = try expression()
        try expect(symbol: ":")
        pairs.append((key, try expression()))
        guard skip(symbol: ",") else { break }
      }
      try expect(symbol: "}")
      return try JinjaExpression(.dictionary(pairs), line: line)
    default:
      throw unexpected("an expression")
    }
  }

  private mutating func postfix(_ start: JinjaExpression) throws -> JinjaExpression {
    var node = start
    while true {
      let line = current.line
      if skip(symbol: ".") {
        switch current.kind {
        case .name(let name): node = try JinjaExpression(.attribute(node, name), line: line)
        case .integer(let value):
          node = try JinjaExpression(.item(node, JinjaExpression(.int(value), line: line)), line: line)
        default: throw unexpected("a name or a number")
        }
        advance()
      } else if skip(symbol: "[") {
        node = try JinjaExpression(.item(node, try subscripts(line)), line: line)
      } else if isSymbol("(") {
        node = try JinjaExpression(.call(node, try arguments()), line: line)
      } else {
        return node
      }
    }
  }

  private mutating func subscripts(_ line: Int) throws -> JinjaExpression {
    var items: [JinjaExpression] = []
    while !isSymbol("]") {
      if !items.isEmpty { try expect(symbol: ",") }
      items.append(try oneSubscript())
    }
    try expect(symbol: "]")
    return try items.count == 1 ? items[0] : JinjaExpression(.tuple(items), line: line)
  }

  private mutating func oneSubscript() throws -> JinjaExpression {
    let line = current.line
    let start = isSymbol(":") ? nil : try expression()
    guard skip(symbol: ":") else { return start! }
    func isOpen(_ parser: Self) -> Bool { !parser.isSymbol("]") && !parser.isSymbol(",") && !parser.isSymbol(":") }
    let stop = isOpen(self) ? try expression() : nil
    let step = skip(symbol: ":") && isOpen(self) ? try expression() : nil
    return try JinjaExpression(.slice(start, stop, step), line: line)
  }

  private mutating func filtersAndTests(_ start: JinjaExpression) throws -> JinjaExpression {
    var node = start
    while true {
      if isSymbol("|") {
        node = try filters(node, startsWithName: false)!
      } else if isName("is") {
        node = try test(node)
      } else if isSymbol("(") {
        node = try JinjaExpression(.call(node, try arguments()), line: current.line)
      } else {
        return node
      }
    }
  }

  /// One or more filters: `|name(…)`; the bar before the first is absent in `{% filter name %}`.
  mutating func filters(_ start: JinjaExpression?, startsWithName: Bool) throws -> JinjaExpression? {
    var node = start
    var isFirst = startsWithName
    while isFirst || skip(symbol: "|") {
      isFirst = false
      let line = current.line
      let name = try dottedName()
      node = try JinjaExpression(.filter(node, name, isSymbol("(") ? try arguments() : JinjaCallArguments()), line: line)
    }
    return node
  }

  private mutating func dottedName() throws -> String {
    var name = try expectName()
    while skip(symbol: ".") { name += "." + (try expectName()) }
    return name
  }

  private mutating func test(_ value: JinjaExpression) throws -> JinjaExpression {
    let line = current.line
    advance()
    let isNegated = skip(name: "not")
    let name = try dottedName()
    var arguments = JinjaCallArguments()
    if isSymbol("(") {
      arguments = try self.arguments()
    } else if startsTestArgument {
      if isName("is") { throw ChatTemplateError(line: line, message: "two tests with 'is' cannot follow each other.") }
      arguments.positional = [try postfix(try primary())]
    }
    let node = try JinjaExpression(.test(value, name, arguments), line: line)
    return try isNegated ? JinjaExpression(.not(node), line: line) : node
  }

  private var startsTestArgument: Bool {
    switch current.kind {
    case .name(let name): !["else", "or", "and"].contains(name)
    case .string, .integer, .float, .symbol("["), .symbol("{"): true
    default: false
    }
  }

  private mutating func arguments() throws -> JinjaCallArguments {
    let line = current.line
    var result = JinjaCallArguments()
    func require(_ condition: Bool) throws {
      guard condition else {
        throw ChatTemplateError(line: line, message: "the arguments of a call stand in the wrong order.")
      }
    }
    try expect(symbol: "(")
    while !isSymbol(")") {
      if skip(symbol: "*") {
        try require(result.spreadPositional == nil && result.spreadKeyword == nil)
        result.spreadPositional = try expression()
      } else if skip(symbol: "**") {
        try require(result.spreadKeyword == nil)
        result.spreadKeyword = try expression()
      } else if case .name(let name) = current.kind, following.kind == .symbol("=") {
        try require(result.spreadKeyword == nil)
        advance()
        advance()
        result.keyword.append((name, try expression()))
      } else {
        try require(result.spreadPositional == nil && result.spreadKeyword == nil && result.keyword.isEmpty)
        result.positional.append(try expression())
      }
      guard skip(symbol: ",") else { break }
    }
    try expect(symbol: ")")
    return result
  }
}
