extension JinjaInterpreter {
  func evaluate(_ expression: JinjaExpression, _ scope: JinjaScope) throws -> JinjaValue {
    line = expression.line
    try step()
    switch expression.form {
    case .none: return .none
    case .bool(let value): return .bool(value)
    case .int(let value): return .int(value)
    case .float(let value): return .float(value)
    case .string(let value): return .string(value)
    case .name(let name): return scope.find(name) ?? JinjaGlobals.table[name] ?? .undefined(.name(name))
    case .tuple(let items): return try shallow(.tuple(try items.map { try evaluate($0, scope) }))
    case .list(let items): return try shallow(.list(try items.map { try evaluate($0, scope) }))
    case .dictionary(let pairs):
      let dictionary = JinjaDictionary()
      for (key, value) in pairs { try dictionary.set(try evaluate(key, scope), try evaluate(value, scope)) }
      return try shallow(.dictionary(dictionary))
    case .attribute(let value, let name): return try evaluate(value, scope).attribute(name)
    case .item(let value, let key):
      if case .slice(let start, let stop, let step) = key.form {
        let bounds = try [start, stop, step].map { try $0.map { try evaluate($0, scope) } }
        return try evaluate(value, scope).slice(bounds[0], bounds[1], bounds[2])
      }
      return try evaluate(value, scope).item(try evaluate(key, scope))
    case .slice: throw failure("a slice can only stand alone in brackets.")
    case .call: return try call(expression, scope)
    case .filter: return try filter(expression, input: nil, scope)
    case .test(let value, let name, let arguments):
      guard let test = JinjaTests.table[name] else { throw failure("there is no test '\(name)'.") }
      let value = try evaluate(value, scope)
      return .bool(try test(value, try self.arguments(arguments, scope)))
    case .not(let value): return .bool(try !evaluate(value, scope).isTrue())
    case .unary(let symbol, let value): return try evaluate(value, scope).negated(symbol)
    case .binary(let symbol, let left, let right):
      let a = try evaluate(left, scope)
      let b = try evaluate(right, scope)
      return try sized(try a.apply(symbol, b))
    case .and(let left, let right):
      let value = try evaluate(left, scope)
      return try value.isTrue() ? try evaluate(right, scope) : value
    case .or(let left, let right):
      let value = try evaluate(left, scope)
      return try value.isTrue() ? value : try evaluate(right, scope)
    case .compare(let first, let operands):
      var left = try evaluate(first, scope)
      for (symbol, value) in operands {
        let right = try evaluate(value, scope)
        guard try left.compare(symbol, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .concatenation(let items):
      var text = ""
      for item in items { text += try evaluate(item, scope).text() }
      return try sized(.string(try text.bounded()))
    case .conditional(let test, let then, let otherwise):
      if try evaluate(test, scope).isTrue() { return try evaluate(then, scope) }
      if let otherwise { return try evaluate(otherwise, scope) }
      return .undefined(.hint("an inline 'if' without 'else' whose condition is false has no value."))
    }
  }

  /// Charges for the size of a result, so that a template cannot copy large values for ever.
  func sized(_ value: JinjaValue) throws -> JinjaValue {
    switch value {
    case .string(let text): try step(cost: text.utf8.count / 64)
    case .list(let array), .tuple(let array):
      try step(cost: array.items.count)
      guard array.items.count <= JinjaLimits.items else { throw failure("a list has more than \(JinjaLimits.items) items.") }
    default: break
    }
    return try shallow(value)
  }

  private func shallow(_ value: JinjaValue) throws -> JinjaValue {
    guard value.depth <= JinjaLimits.depth else { throw failure("a value is nested deeper than \(JinjaLimits.depth) levels.") }
    return value
  }

  func arguments(_ arguments: JinjaCallArguments, _ scope: JinjaScope) throws -> JinjaArguments {
    var result = JinjaArguments()
    result.positional = try arguments.positional.map { try evaluate($0, scope) }
    result.keyword = try arguments.keyword.map { ($0.name, try evaluate($0.value, scope)) }
    if let spread = arguments.spreadPositional { result.positional += try evaluate(spread, scope).items() }
    if let spread = arguments.spreadKeyword {
      let value = try evaluate(spread, scope)
      guard case .dictionary(let dictionary) = value else { throw failure("'**' needs a dict, not a \(value.typeName).") }
      for (key, value) in zip(dictionary.keys, dictionary.values) {
        guard case .string(let name) = key else { throw failure("the names of arguments must be strings.") }
        result.keyword.append((name, value))
      }
    }
    return result
  }

  /// Evaluates a call; `extra` are arguments that the template does not write.
  func call(
    _ expression: JinjaExpression, _ scope: JinjaScope, extra: [(name: String, value: JinjaValue)] = []
  ) throws -> JinjaValue {
    guard case .call(let function, let arguments) = expression.form else { return try evaluate(expression, scope) }
    if case .attribute(let owner, let name) = function.form {
      let object = try evaluate(owner, scope)
      if let method = object.method(name) {
        let arguments = try self.arguments(arguments, scope)
        line = expression.line
        return try sized(try method(object, arguments))
      }
      return try call(try object.attribute(name), arguments, scope, extra, expression.line)
    }
    return try call(try evaluate(function, scope), arguments, scope, extra, expression.line)
  }

  private func call(
    _ function: JinjaValue, _ arguments: JinjaCallArguments, _ scope: JinjaScope,
    _ extra: [(name: String, value: JinjaValue)], _ line: Int
  ) throws -> JinjaValue {
    var arguments = try self.arguments(arguments, scope)
    arguments.keyword += extra
    self.line = line
    guard case .object(let object) = try function.defined() else {
      throw failure("a value of type \(function.typeName) cannot be called.")
    }
    let result = try object.call(self, arguments)
    self.line = line
    return try sized(result)
  }

  /// Evaluates a chain of filters, whose innermost one takes `input` if it has no value of its own.
  func filter(_ expression: JinjaExpression, input: JinjaValue?, _ scope: JinjaScope) throws -> JinjaValue {
    guard case .filter(let value, let name, let arguments) = expression.form else { return try evaluate(expression, scope) }
    let operand: JinjaValue
    if let value {
      operand = try input == nil ? evaluate(value, scope) : filter(value, input: input, scope)
    } else {
      operand = input ?? .none
    }
    let bound = try self.arguments(arguments, scope)
    line = expression.line
    return try sized(try apply(filter: name, operand, bound))
  }

  func apply(filter name: String, _ value: JinjaValue, _ arguments: JinjaArguments) throws -> JinjaValue {
    guard let filter = JinjaFilters.table[name] else { throw failure("there is no filter '\(name)'.") }
    return try filter(self, value, arguments)
  }
}

/// The arguments of a call, evaluated.
struct JinjaArguments {
  var positional: [JinjaValue] = []
  var keyword: [(name: String, value: JinjaValue)] = []

  /// The values for a function's parameters, nil where none was given.
  func bind(_ function: String, _ parameters: String..., required: Int = 0) throws -> [JinjaValue?] {
    guard positional.count <= parameters.count else {
      throw failure("'\(function)' takes at most \(parameters.count) arguments, not \(positional.count).")
    }
    var values: [JinjaValue?] = positional + Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in keyword {
      guard let i = parameters.firstIndex(of: name) else { throw failure("'\(function)' has no argument '\(name)'.") }
      guard values[i] == nil else { throw failure("'\(function)' was given '\(name)' twice.") }
      values[i] = value
    }
    for i in 0..<required where values[i] == nil { throw failure("'\(function)' needs the argument '\(parameters[i])'.") }
    return values
  }
}
