/// Makes values of a pickle's finished nodes.
struct PickleFreezer {
  /// Deeper than any state dictionary, and shallow enough for the stack of any thread.
  static let maximumDepth = 200

  /// Those that were made values of have become leaves.
  private var nodes: [PickleReader.Node]
  /// How many values a leaf that was made is, counting one that is referred to twice as two; 0 for any other node.
  private var counts: [UInt32]
  /// Values below the one that is being made.
  private var count = 0
  private let maximumCount: Int

  /// - Parameter byteCount: the pickle's size. A small one can stand for a value of any size, by referring to values
  ///   that refer to values; one that does so beyond measure is refused.
  init(nodes: [PickleReader.Node], byteCount: Int) {
    self.nodes = nodes
    counts = Array(repeating: 0, count: nodes.count)
    maximumCount = min(Int(UInt32.max), max(1 << 20, 64 * byteCount))
  }

  mutating func value(of index: Int, depth: Int = 0) throws -> PickleValue {
    let node = nodes[index]
    if case .leaf(let value) = node {
      try grow(by: max(1, Int(counts[index])))
      return value
    }
    guard depth < Self.maximumDepth else {
      throw PickleError("the pickle nests values more than \(Self.maximumDepth) deep")
    }
    nodes[index] = .open
    let before = count
    let value = try make(node, depth + 1)
    try grow(by: 1)
    nodes[index] = .leaf(value)
    counts[index] = UInt32(count - before)
    return value
  }

  private mutating func grow(by size: Int) throws {
    count += size
    guard count <= maximumCount else { throw PickleError("the pickle stands for more than \(maximumCount) values") }
  }

  private mutating func make(_ node: PickleReader.Node, _ depth: Int) throws -> PickleValue {
    switch node {
    case .leaf(let value): return value
    case .open: throw PickleError("the pickle holds a value that contains itself")
    case .list(let items): return .list(try values(of: items, depth))
    case .tuple(let items): return .tuple(try values(of: items, depth))
    case .set(let items): return .set(try values(of: items, depth))
    case .dictionary(let items): return .dictionary(try pairs(of: items, depth))
    case .persistent(let item): return .persistent(try value(of: item, depth: depth))
    case .object(let object):
      let value = PickleObject(
        object.function, try values(of: object.arguments, depth), construction: object.construction,
        state: try object.state.map { try self.value(of: $0, depth: depth) },
        items: try values(of: object.items, depth), pairs: try pairs(of: object.pairs, depth))
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
    let names = pairs.compactMap(\.key.string)
    guard Set(names).count == names.count else {
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
