import Foundation

/// A built-in function.
final class JinjaFunction: JinjaObject {
  private let name: String
  private let body: (JinjaInterpreter, JinjaArguments) throws -> JinjaValue

  init(_ name: String, _ body: @escaping (JinjaInterpreter, JinjaArguments) throws -> JinjaValue) {
    (self.name, self.body) = (name, body)
  }

  var typeName: String { "function" }
  var isCallable: Bool { true }
  func text() -> String { "<function \(name)>" }
  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    try body(interpreter, arguments)
  }
}

/// `namespace(...)`: the only value that a template can change.
final class JinjaNamespace: JinjaObject {
  var attributes: [String: JinjaValue] = [:]

  var typeName: String { "Namespace" }
  func attribute(_ name: String) -> JinjaValue? { attributes[name] }

  func set(_ name: String, _ value: JinjaValue) throws {
    guard !name.hasPrefix("_") else { throw failure("a namespace cannot hold '\(name)', because it starts with an underscore.") }
    attributes[name] = value
  }

  /// A namespace may hold itself, so it is not printed.
  func text() throws -> String { throw failure("a namespace cannot be printed; print one of its attributes.") }
}

/// What can be looped over once: what `map`, `select` and their like return.
final class JinjaIterator: JinjaObject {
  private var remaining: ArraySlice<JinjaValue>
  let depth: Int

  init(_ items: [JinjaValue]) {
    remaining = items[...]
    depth = JinjaArray(items).depth
  }

  var typeName: String { "generator" }
  func next() -> JinjaValue? { remaining.popFirst() }
  func items() -> [JinjaValue]? {
    defer { remaining = [] }
    return Array(remaining)
  }
}

/// `dict.keys()`, `dict.values()` and `dict.items()`.
final class JinjaView: JinjaObject {
  let typeName: String
  private let array: JinjaArray

  init(_ typeName: String, _ items: [JinjaValue]) { (self.typeName, array) = (typeName, JinjaArray(items)) }

  var depth: Int { array.depth }
  func items() -> [JinjaValue]? { array.items }
  func count() -> Int? { array.items.count }
  func text() throws -> String { "\(typeName)([\(try JinjaValue.join(array.items))])" }
}

/// `cycler(...)`: hands out its items in turn.
final class JinjaCycler: JinjaObject {
  private let values: JinjaArray
  private var position = 0

  init(_ values: [JinjaValue]) { self.values = JinjaArray(values) }

  var typeName: String { "Cycler" }
  var depth: Int { values.depth }
  func attribute(_ name: String) -> JinjaValue? {
    switch name {
    case "current": values.items[position]
    case "next":
      .object(JinjaFunction("next") { [self] _, _ in
        defer { position = (position + 1) % values.items.count }
        return values.items[position]
      })
    case "reset":
      .object(JinjaFunction("reset") { [self] _, _ in
        position = 0
        return .none
      })
    default: nil
    }
  }
}

/// `joiner(separator)`: nothing at its first call, the separator afterwards.
final class JinjaJoiner: JinjaObject {
  private let separator: JinjaValue
  private var isUsed = false

  init(_ separator: JinjaValue) { self.separator = separator }

  var typeName: String { "Joiner" }
  var isCallable: Bool { true }
  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) -> JinjaValue {
    defer { isUsed = true }
    return isUsed ? separator : .string("")
  }
}
