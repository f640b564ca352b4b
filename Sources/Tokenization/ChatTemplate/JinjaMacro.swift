/// A macro, or the caller of a `{% call %}` block, together with the scope in which it was defined.
final class JinjaMacro: JinjaObject {
  private let definition: JinjaMacroDefinition
  private let scope: JinjaScope

  init(_ definition: JinjaMacroDefinition, _ scope: JinjaScope) { (self.definition, self.scope) = (definition, scope) }

  var typeName: String { "Macro" }
  var isCallable: Bool { true }
  func text() -> String { "<Macro '\(definition.name)'>" }

  func attribute(_ name: String) -> JinjaValue? {
    switch name {
    case "name": .string(definition.name)
    case "arguments": .tuple(definition.parameters.map { .string($0.name) })
    default: nil
    }
  }

  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    try interpreter.step()
    let inner = JinjaScope(parent: scope)
    var keyword = arguments.keyword
    func take(_ name: String) -> JinjaValue? {
      keyword.firstIndex { $0.name == name }.map { keyword.remove(at: $0).value }
    }
    let parameters = definition.parameters
    var missing: [(name: String, standard: JinjaExpression?)] = []
    for (i, parameter) in parameters.enumerated() {
      if i < arguments.positional.count {
        inner.set(parameter.name, arguments.positional[i])
      } else if let value = take(parameter.name) {
        inner.set(parameter.name, value)
      } else {
        missing.append(parameter)
      }
    }
    if definition.special.contains("caller") {
      inner.set("caller", take("caller") ?? .undefined(.hint("the macro '\(definition.name)' was not called by a call block.")))
    }
    if definition.special.contains("kwargs") {
      let rest = JinjaDictionary()
      for (name, value) in keyword { try rest.set(.string(name), value) }
      inner.set("kwargs", .dictionary(rest))
    } else if let name = keyword.first?.name {
      throw failure("the macro '\(definition.name)' takes no argument '\(name)'.")
    }
    if definition.special.contains("varargs") {
      inner.set("varargs", .tuple(Array(arguments.positional.dropFirst(parameters.count))))
    } else if arguments.positional.count > parameters.count {
      let given = arguments.positional.count
      throw failure("the macro '\(definition.name)' takes at most \(parameters.count) arguments, not \(given).")
    }
    for (name, standard) in missing {
      let value = try standard.map { try interpreter.evaluate($0, inner) }
      inner.set(name, value ?? .undefined(.hint("the parameter '\(name)' of the macro '\(definition.name)' was not given.")))
    }
    return .string(try interpreter.capture { _ = try interpreter.execute(definition.body, inner) })
  }
}
