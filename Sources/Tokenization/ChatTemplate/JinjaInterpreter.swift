import Foundation

/// The variables of one stretch of a template: the whole of it, one turn of a loop, one call of a macro.
///
/// They are few, and a scope is made for every turn of a loop: a list is faster than a table.
final class JinjaScope {
  private var variables: [(name: String, value: JinjaValue)]
  private let parent: JinjaScope?

  init(_ variables: [(name: String, value: JinjaValue)] = [], parent: JinjaScope?) {
    (self.variables, self.parent) = (variables, parent)
  }

  func find(_ name: String) -> JinjaValue? {
    var scope: JinjaScope? = self
    while let current = scope {
      for variable in current.variables where variable.name == name { return variable.value }
      scope = current.parent
    }
    return nil
  }

  func set(_ name: String, _ value: JinjaValue) {
    for i in variables.indices where variables[i].name == name {
      variables[i].value = value
      return
    }
    variables.append((name, value))
  }

  func removeAll() { variables = [] }
}

/// Runs the statements of one rendering. `JinjaInterpreter+Expressions.swift` evaluates expressions.
///
/// A template comes with a model and is not trusted: steps, sizes, nesting and stack are bounded.
final class JinjaInterpreter {
  enum Flow { case normal, breakLoop, continueLoop }

  /// Stack that a rendering may use; threads of Apple's systems have less of it.
  #if canImport(Darwin)
    private static let maximumStack = 256 << 10
  #else
    private static let maximumStack = 768 << 10
  #endif
  private static let maximumSteps = 5_000_000

  let now: Date
  var line = 1
  /// Where the generation blocks' texts lie in the output, in UTF-8 bytes.
  private(set) var generated: [Range<Int>] = []
  private var output = ""
  private var rootLength = 0
  private var captures = 0
  private var steps = 0
  private let stackBase: UInt
  /// What may hold itself, directly or through others, and is emptied at the end so that it is freed.
  private var namespaces: [JinjaNamespace] = []
  private var macroScopes: [JinjaScope] = []

  init(now: Date) {
    self.now = now
    stackBase = Self.stackAddress()
  }

  func render(_ statements: [JinjaStatement], _ variables: [String: JinjaValue]) throws -> String {
    defer {
      for namespace in namespaces { namespace.attributes = [:] }
      for scope in macroScopes { scope.removeAll() }
    }
    do {
      _ = try execute(statements, JinjaScope(variables.map { ($0, $1) }, parent: nil))
    } catch var error as ChatTemplateError {
      error.line = error.line ?? line
      throw error
    }
    return output
  }

  // MARK: - Limits

  @inline(never)
  private static func stackAddress() -> UInt {
    var marker: UInt8 = 0
    return withUnsafeMutablePointer(to: &marker) { UInt(bitPattern: $0) }
  }

  /// Counts a step, or as many as a large result costs.
  func step(cost: Int = 1) throws {
    steps += cost
    guard steps <= Self.maximumSteps else {
      throw failure("rendering took more than \(Self.maximumSteps) steps; the template does not seem to end.")
    }
    let used = Int(bitPattern: stackBase &- Self.stackAddress())
    guard used <= Self.maximumStack else { throw failure("macros or loops call themselves too deeply.") }
  }

  /// Registers a namespace that a template made.
  func adopt(_ namespace: JinjaNamespace) { namespaces.append(namespace) }

  // MARK: - Output

  func write(_ text: String) throws {
    output += text
    try step(cost: 1 + text.utf8.count / 64)
    guard output.utf8.count <= JinjaLimits.text else {
      throw failure("the rendered text is longer than \(JinjaLimits.text) bytes.")
    }
  }

  /// What `body` writes, instead of writing it.
  func capture(_ body: () throws -> Void) throws -> String {
    if captures == 0 { rootLength = output.utf8.count }
    captures += 1
    let outer = output
    output = ""
    defer {
      output = outer
      captures -= 1
    }
    try body()
    return output
  }

  // MARK: - Statements

  func execute(_ statements: [JinjaStatement], _ scope: JinjaScope) throws -> Flow {
    for statement in statements {
      let flow = try execute(statement, scope)
      if flow != .normal { return flow }
    }
    return .normal
  }

  private func execute(_ statement: JinjaStatement, _ scope: JinjaScope) throws -> Flow {
    line = statement.line
    try step()
    switch statement.form {
    case .text(let text): try write(text)
    case .output(let expression): try write(try evaluate(expression, scope).text())
    case .conditional(let branches, let otherwise):
      for (test, body) in branches where try evaluate(test, scope).isTrue() { return try execute(body, scope) }
      return try execute(otherwise, scope)
    case .loop(let loop):
      let items = try evaluate(loop.iterable, scope)
      if loop.isRecursive {
        try write(try runRecursively(loop, items, scope, depth: 0))
      } else {
        try run(loop, items, scope, depth: 0)
      }
    case .set(let target, let value): try assign(try evaluate(value, scope), to: target, scope)
    case .setBlock(let target, let filter, let body):
      let inner = JinjaScope(parent: scope)
      var value = JinjaValue.string(try capture { _ = try execute(body, inner) })
      if let filter { value = try self.filter(filter, input: value, inner) }
      try assign(value, to: target, scope)
    case .with(let bindings, let body):
      let inner = JinjaScope(parent: scope)
      for (target, value) in bindings { try assign(try evaluate(value, scope), to: target, inner) }
      return try execute(body, inner)
    case .macro(let definition):
      macroScopes.append(scope)
      scope.set(definition.name, .object(JinjaMacro(definition, scope)))
    case .call(let call, let caller):
      let macro = JinjaValue.object(JinjaMacro(caller, scope))
      try write(try self.call(call, scope, extra: [("caller", macro)]).text())
    case .filter(let filter, let body):
      let inner = JinjaScope(parent: scope)
      let text = try capture { _ = try execute(body, inner) }
      try write(try self.filter(filter, input: .string(text), inner).text())
    case .generation(let body):
      let text = try capture { _ = try execute(body, JinjaScope(parent: scope)) }
      let start = captures == 0 ? output.utf8.count : rootLength
      generated.append(start..<start + text.utf8.count)
      try write(text)
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    }
    return .normal
  }

  /// The text of a loop that may call itself.
  func runRecursively(_ loop: JinjaLoop, _ items: JinjaValue, _ scope: JinjaScope, depth: Int) throws -> String {
    try step()
    return try capture { try run(loop, items, scope, depth: depth) }
  }

  private func run(_ loop: JinjaLoop, _ iterable: JinjaValue, _ scope: JinjaScope, depth: Int) throws {
    let context = JinjaLoopContext(loop, try iterable.items(), scope, self, depth: depth)
    while let item = try context.advance() {
      try step()
      let inner = JinjaScope([("loop", .object(context))], parent: scope)
      try assign(item, to: loop.target, inner)
      if try execute(loop.body, inner) == .breakLoop { break }
    }
    if context.index0 < 0 { _ = try execute(loop.otherwise, JinjaScope(parent: scope)) }
  }

  func assign(_ value: JinjaValue, to target: JinjaTarget, _ scope: JinjaScope) throws {
    switch target {
    case .name(let name): scope.set(name, value)
    case .attribute(let name, let attribute):
      guard case .object(let object)? = scope.find(name), let namespace = object as? JinjaNamespace else {
        throw failure("'\(name).\(attribute)' cannot be set, because '\(name)' is not a namespace.")
      }
      try namespace.set(attribute, value)
    case .tuple(let targets):
      let items = try value.items()
      guard items.count == targets.count else {
        throw failure("\(items.count) values cannot be unpacked into \(targets.count) names.")
      }
      for (target, item) in zip(targets, items) { try assign(item, to: target, scope) }
    }
  }
}
