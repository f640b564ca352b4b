/// Makes values of a pickle's finished nodes.
struct PickleFreezer {
  /// Deeper than any state dictionary, and shallow enough for the stack of any thread.
  static let maximumDepth = 200

  private let nodes: [PickleReader.Node]
  /// Finished values, and how many values each of them is, counting one that is referred to twice as two.
  private var made: [(value: PickleValue, count: Int)?]
  private var isOpen: [Bool]
  /// Values below the one that is being made.
  private var count = 0
  private let maximumCount: Int

  /// - Parameter byteCount: the pickle's size. A small one can stand for a value of any size, by referring to values
  ///   that refer to values; one that does so beyond measure is refused.
  init(nodes: [PickleReader.Node], byteCount: Int) {
    self.nodes = nodes
    made = Array(repeating: nil, count: nodes.count)
    isOpen = Array(repeating: false, count: nodes.count)
    maximumCount = max(1 << 20, 64 * byteCount)
  }

  mutating func value(of index: Int, depth: Int = 0) throws -> PickleValue {
    if case .leaf(let value) = nodes[index] {
      count += 1
      return value
    }
    if let (value, size) = made[index] {
      try grow(by: size)
      return value
    }
    guard !isOpen[index] else { throw PickleError("the pickle holds a value that contains itself") }
    guard depth < Self.maximumDepth else {
      throw PickleError("the pickle nests values more than \(Self.maximumDepth) deep")
    }
    isOpen[index] = true
    defer { isOpen[index] = false }
    let before = count
    let value = try make(nodes[index], depth + 1)
    try grow(by: 1)
    made[index] = (value, count - before)
    return value
  }

  private mutating func grow(by size: Int) throws {
    count += size
    guard count <= maximumCount else { throw PickleError("the pickle stands for more than \(maximumCount) values") }
  }

  private mutating func make(_ node: PickleReader.Node, _ depth: Int) throws -> PickleValue {
    switch node {
    case .leaf(let value): return value
    case .list(let items): return .list(try values(of: items, depth))
    case .tuple(let items): return .tuple(try values(of: items, depth))
    case .set(let items): return .set(try values(of: items, depth))
    case .dictionary(let items): return .dictionary(try pairs(of: items, depth))
    case .persistent(let item): return .persistent(try value(of: item, depth: depth))
    case .object(let object):
      let value = PickleObject(
        object.function, try values(of: object.arguments, depth), construction: object.construction,
        state: try object.state.map { try self.value(of: $0, depth: depth) }, items: try values(of: object.items, depth),
        pairs: try pairs(of: object.pairs, depth))
      return Self.plain(value) ?? .object(value)
    }
  }

  private mutating func values(of items: [Int], _ depth: Int) throws -> [PickleValue] {
    var values: [PickleValue] = []
    values.reserveCapacity(items.count)
    for item in items { values.append(try value(of: item, depth: depth)) }
    return values
  }

  private mutating func pairs(of items: [Int], _ depth: Int) throws -> [PicklePair] {
    var pairs: [PicklePair] = []
    pairs.reserveCapacity(items.count / 2)
    for i in stride(from: 0, to: items.count, by: 2) {
      pairs.append(PicklePair(try value(of: items[i], depth: depth), try value(of: items[i + 1], depth: depth)))
    }
    guard pairs.count < 2 || Set(pairs.map(\.key)).count == pairs.count else {
      throw PickleError("the pickle holds a dictionary that has a key twice")
    }
    return pairs
  }

  /// Sets and bytes, which the older protocols have no instructions for.
  private static func plain(_ object: PickleObject) -> PickleValue? {
    guard object.state == nil, object.items.isEmpty, object.pairs.isEmpty else { return nil }
    if PickleGlobal.sets.contains(object.function) {
      if object.arguments.isEmpty { return .set([]) }
      if object.arguments.count == 1, let items = object.arguments[0].array { return .set(items) }
    }
    if object.function == .encode, object.arguments.count == 2, object.arguments[1] == .string("latin1"),
      let text = object.arguments[0].string, text.unicodeScalars.allSatisfy({ $0.value < 256 })
    {
      return .bytes(text.unicodeScalars.map { UInt8($0.value) })
    }
    if object.function.name == "bytes", object.arguments.isEmpty { return .bytes([]) }
    return nil
  }
}
