/// Reads a pickle (protocols 2 to 5) without running anything.
///
/// Objects under construction are nodes of one flat table that refer to each other by number, as pickles change objects
/// after they have referred to them. `PickleFreezer` makes values of them.
package struct PickleReader {
  /// Small, as a large checkpoint's metadata have millions of them.
  enum Node {
    case leaf(PickleValue)
    case list([Int])
    case tuple([Int])
    case set([Int])
    /// Keys and values in turn.
    case dictionary([Int])
    indirect case object(ObjectNode)
    case persistent(Int)
    /// Being made a value of.
    case open
  }

  struct ObjectNode {
    var function: PickleGlobal
    var arguments: [Int]
    var construction: PickleObject.Construction
    var state: Int?
    var items: [Int] = []
    /// Keys and values in turn.
    var pairs: [Int] = []
  }

  /// What the bytes hold. Throws `PickleError`.
  package static func value(of bytes: UnsafeRawBufferPointer, allowing allowed: PickleAllowList) throws -> PickleValue {
    let (value, rest) = try first(of: bytes, allowing: allowed)
    guard rest.isEmpty else {
      throw PickleError("the pickle is corrupt at byte \(bytes.count - rest.count): \(rest.count) bytes follow its end")
    }
    return value
  }

  /// The first of several pickles, and what follows it.
  package static func first(
    of bytes: UnsafeRawBufferPointer, allowing allowed: PickleAllowList
  ) throws -> (value: PickleValue, rest: UnsafeRawBufferPointer) {
    var reader = PickleReader(bytes, allowed)
    let root = try reader.run()
    var freezer = PickleFreezer(nodes: reader.nodes, byteCount: reader.input.position)
    return (try freezer.value(of: root), UnsafeRawBufferPointer(rebasing: bytes[reader.input.position...]))
  }

  private var input: PickleInput
  private let allowed: PickleAllowList
  private var nodes: [Node] = []
  private var stack: [Int] = []
  /// Heights of the stack.
  private var marks: [Int] = []
  private var memo = PickleMemo()

  private init(_ bytes: UnsafeRawBufferPointer, _ allowed: PickleAllowList) {
    (input, self.allowed) = (PickleInput(bytes), allowed)
  }

  private mutating func run() throws -> Int {
    while true {
      let start = input.position
      let code = try input.byte()
      guard let opcode = PickleOpcode(rawValue: code) else {
        throw PickleError("the pickle has the instruction \(code) at byte \(start), which is not supported")
      }
      if opcode == .stop { break }
      try execute(opcode)
    }
    guard stack.count == 1, marks.isEmpty else { throw malformed("it ends with \(stack.count) values instead of one") }
    return stack[0]
  }

  private mutating func execute(_ opcode: PickleOpcode) throws {
    switch opcode {
    case .stop: break
    case .protocolVersion:
      let version = try input.byte()
      guard version <= 5 else { throw PickleError("the pickle has protocol \(version); at most 5 is supported") }
    case .frame:
      let count = try input.count8()
      guard count <= input.remaining else { throw input.truncated() }

    case .none: push(.null)
    case .newTrue: push(.bool(true))
    case .newFalse: push(.bool(false))
    case .binaryInt: push(.int(Int(Int32(truncatingIfNeeded: try input.unsigned(4)))))
    case .binaryInt1: push(.int(try input.unsigned(1)))
    case .binaryInt2: push(.int(try input.unsigned(2)))
    case .long1: push(Self.integer(try input.bytes(try input.unsigned(1))))
    case .long4: push(Self.integer(try input.bytes(try input.unsigned(4))))
    case .binaryFloat: push(.double(try input.double()))
    case .shortBinaryUnicode: push(.string(try input.text(try input.unsigned(1))))
    case .binaryUnicode: push(.string(try input.text(try input.unsigned(4))))
    case .binaryUnicode8: push(.string(try input.text(try input.count8())))
    case .shortBinaryBytes: push(.bytes(Array(try input.bytes(try input.unsigned(1)))))
    case .binaryBytes: push(.bytes(Array(try input.bytes(try input.unsigned(4)))))
    case .binaryBytes8: push(.bytes(Array(try input.bytes(try input.count8()))))

    case .mark: marks.append(stack.count)
    case .pop: _ = try pop()
    case .popMark: _ = try popToMark()
    case .duplicate: stack.append(try top())

    case .emptyTuple: push(node: .tuple([]))
    case .tuple1, .tuple2, .tuple3:
      let count = Int(opcode.rawValue - PickleOpcode.tuple1.rawValue) + 1
      var items: [Int] = []
      for _ in 0..<count { items.append(try pop()) }
      push(node: .tuple(items.reversed()))
    case .tuple: push(node: .tuple(try popToMark()))
    case .emptyList: push(node: .list([]))
    case .list: push(node: .list(try popToMark()))
    case .emptySet: push(node: .set([]))
    case .frozenSet: push(node: .set(try popToMark()))
    case .emptyDictionary: push(node: .dictionary([]))
    case .dictionary:
      push(node: .dictionary([]))
      let made = try pop()
      let items = try popToMark()
      stack.append(made)
      try setItems(items)

    case .append: try append([try pop()])
    case .appends: try append(try popToMark())
    case .addItems: try add(try popToMark())
    case .setItem:
      let value = try pop()
      try setItems([try pop(), value])
    case .setItems: try setItems(try popToMark())

    case .global: try pushGlobal(PickleGlobal(try input.line(), try input.line()))
    case .stackGlobal:
      guard case .string(let name) = try popLeaf(), case .string(let module) = try popLeaf() else {
        throw malformed("a global's name is no string")
      }
      try pushGlobal(PickleGlobal(module, name))
    case .reduce, .newObject: try call(opcode == .reduce ? .call : .new)
    case .build: try build()
    case .persistentID: push(node: .persistent(try pop()))

    case .binaryPut: memo[try input.unsigned(1)] = try top()
    case .longBinaryPut: memo[try input.unsigned(4)] = try top()
    case .memoize: memo[memo.count] = try top()
    case .binaryGet: try get(try input.unsigned(1))
    case .longBinaryGet: try get(try input.unsigned(4))
    }
  }

  // MARK: The stack

  private func malformed(_ problem: String) -> PickleError {
    PickleError("the pickle is corrupt at byte \(input.position): \(problem)")
  }

  private mutating func push(node: Node) {
    stack.append(nodes.count)
    nodes.append(node)
  }

  private mutating func push(_ value: PickleValue) { push(node: .leaf(value)) }

  private func top() throws -> Int {
    guard let last = stack.last, stack.count > marks.last ?? 0 else { throw malformed("a value is missing") }
    return last
  }

  private mutating func pop() throws -> Int {
    let last = try top()
    stack.removeLast()
    return last
  }

  private mutating func popLeaf() throws -> PickleValue {
    guard case .leaf(let value) = nodes[try pop()] else { throw malformed("a value has the wrong type") }
    return value
  }

  private mutating func popToMark() throws -> [Int] {
    guard let mark = marks.popLast() else { throw malformed("a mark is missing") }
    defer { stack.removeSubrange(mark...) }
    return Array(stack[mark...])
  }

  private mutating func get(_ index: Int) throws {
    guard let node = memo[index] else { throw malformed("it refers to value \(index), which it has not made") }
    stack.append(node)
  }

  // MARK: Objects

  private static func integer(_ bytes: UnsafeRawBufferPointer) -> PickleValue {
    guard bytes.count <= 8 else { return .largeInt(Array(bytes)) }
    var bits: UInt64 = (bytes.last ?? 0) & 0x80 == 0 ? 0 : .max
    for byte in bytes.reversed() { bits = bits << 8 | UInt64(byte) }
    return .int(Int(Int64(bitPattern: bits)))
  }

  private mutating func pushGlobal(_ global: PickleGlobal) throws {
    guard allowed.contains(global) else {
      throw PickleError("the pickle names '\(global)', which is not allowed in such a file")
    }
    push(.global(global))
  }

  private mutating func call(_ construction: PickleObject.Construction) throws {
    guard case .tuple(let arguments) = nodes[try pop()] else { throw malformed("a call has no tuple of arguments") }
    guard case .global(let function) = try popLeaf() else { throw malformed("what is called is no global") }
    push(node: .object(ObjectNode(function: function, arguments: arguments, construction: construction)))
  }

  private mutating func build() throws {
    let state = try pop()
    try change(try top()) { node in
      guard case .object(var object) = node, object.state == nil else { return false }
      object.state = state
      node = .object(object)
      return true
    }
  }

  private mutating func append(_ items: [Int]) throws {
    try change(try top()) { node in
      switch node {
      case .list(var list):
        node = .leaf(.null)
        list += items
        node = .list(list)
      case .object(var object):
        node = .leaf(.null)
        object.items += items
        node = .object(object)
      default: return false
      }
      return true
    }
  }

  private mutating func add(_ items: [Int]) throws {
    try change(try top()) { node in
      guard case .set(let set) = node else { return false }
      node = .set(set + items)
      return true
    }
  }

  private mutating func setItems(_ items: [Int]) throws {
    guard items.count % 2 == 0 else { throw malformed("a key has no value") }
    try change(try top()) { node in
      switch node {
      case .dictionary(var pairs):
        node = .leaf(.null)
        pairs += items
        node = .dictionary(pairs)
      case .object(var object):
        node = .leaf(.null)
        object.pairs += items
        node = .object(object)
      default: return false
      }
      return true
    }
  }

  /// Changes a node in place: its arrays are taken out of the table first, so that they are not copied.
  private mutating func change(_ index: Int, _ body: (inout Node) -> Bool) throws {
    var node = nodes[index]
    nodes[index] = .leaf(.null)
    let isChanged = body(&node)
    nodes[index] = node
    if !isChanged { throw malformed("a value has the wrong type") }
  }
}
