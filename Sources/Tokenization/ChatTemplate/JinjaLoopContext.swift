/// The variable `loop`. Items that a loop's filter refuses are passed over only when they are reached,
/// because the filter may read what the body changes.
final class JinjaLoopContext: JinjaObject {
  private let loop: JinjaLoop
  private let scope: JinjaScope
  private unowned let interpreter: JinjaInterpreter
  private let depth0: Int
  private var pending: [JinjaValue]
  private var cursor = 0
  private var isFiltered: Bool
  private var following: JinjaValue?
  private var previous: JinjaValue?
  private var current: JinjaValue?
  private var lastChanged: JinjaValue?
  private(set) var index0 = -1

  init(_ loop: JinjaLoop, _ items: [JinjaValue], _ scope: JinjaScope, _ interpreter: JinjaInterpreter, depth: Int) {
    (self.loop, pending, self.scope, self.interpreter, depth0) = (loop, items, scope, interpreter, depth)
    isFiltered = loop.test != nil
  }

  // MARK: - Items

  private func fetch() throws -> JinjaValue? {
    while cursor < pending.count {
      let item = pending[cursor]
      cursor += 1
      guard isFiltered, let test = loop.test else { return item }
      let inner = JinjaScope(parent: scope)
      try interpreter.assign(item, to: loop.target, inner)
      if try interpreter.evaluate(test, inner).isTrue() { return item }
    }
    return nil
  }

  /// Goes to the next item.
  func advance() throws -> JinjaValue? {
    let next = try following ?? fetch()
    following = nil
    guard let next else { return nil }
    index0 += 1
    (previous, current) = (current, next)
    return next
  }

  private func peek() throws -> JinjaValue? {
    if following == nil { following = try fetch() }
    return following
  }

  private func length() throws -> Int {
    guard isFiltered else { return pending.count }
    var rest: [JinjaValue] = []
    while let item = try fetch() { rest.append(item) }
    // From here on nothing is left to test; what came before only matters by its number.
    let before = index0 + 1 + (following == nil ? 0 : 1)
    pending = Array(repeating: .none, count: before) + rest
    cursor = before
    isFiltered = false
    return pending.count
  }

  // MARK: - As a value

  var typeName: String { "LoopContext" }
  var isCallable: Bool { true }
  func count() throws -> Int? { try length() }
  func text() throws -> String { "<LoopContext \(index0 + 1)/\(try length())>" }

  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    let items = try arguments.bind("loop", "iterable", required: 1)[0]!
    guard loop.isRecursive else { throw failure("'loop' can only be called in a loop that is marked 'recursive'.") }
    return .string(try interpreter.runRecursively(loop, items, scope, depth: depth0 + 1))
  }

  func attribute(_ name: String) throws -> JinjaValue? {
    switch name {
    case "index0": return .int(index0)
    case "index": return .int(index0 + 1)
    case "first": return .bool(index0 == 0)
    case "last": return .bool(try peek() == nil)
    case "length": return .int(try length())
    case "revindex": return .int(try length() - index0)
    case "revindex0": return .int(try length() - index0 - 1)
    case "depth": return .int(depth0 + 1)
    case "depth0": return .int(depth0)
    case "previtem": return previous ?? .undefined(.hint("there is no previous item."))
    case "nextitem": return try peek() ?? .undefined(.hint("there is no next item."))
    case "cycle":
      return .object(JinjaFunction("cycle") { [index0] _, arguments in
        guard !arguments.positional.isEmpty else { throw failure("'loop.cycle' needs items to cycle through.") }
        return arguments.positional[index0 % arguments.positional.count]
      })
    case "changed":
      return .object(JinjaFunction("changed") { [self] _, arguments in
        let value = JinjaValue.tuple(arguments.positional)
        if let lastChanged, try lastChanged.isEqual(to: value) { return .bool(false) }
        lastChanged = value
        return .bool(true)
      })
    default: return nil
    }
  }
}
