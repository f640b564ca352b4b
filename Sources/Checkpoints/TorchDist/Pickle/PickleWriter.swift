/// Writes pickles as Python's own pickler does, instruction by instruction: protocol 2 for `torch.save` files, protocol
/// 4 for `.metadata`.
///
/// Python's pickler refers back to an object that it has written already. Here equal texts, globals and enumeration
/// members are taken for the same object, and all other values for different ones; that is how it is in what PyTorch
/// saves from one process, and so the bytes are the same.
package struct PickleWriter {
  package enum Version: UInt8 { case two = 2, four = 4 }

  package static func bytes(of value: PickleValue, _ version: Version) throws -> [UInt8] {
    var writer = PickleWriter(version)
    try writer.write(value)
    writer.output.append(.stop)
    return writer.output.finish()
  }

  /// Enumeration members and the like, of which there is one object each.
  static let singletons: Set<PickleGlobal> = [
    PickleGlobal("torch.serialization", "_get_layout"),
    PickleGlobal("torch.distributed.checkpoint.metadata", "_MEM_FORMAT_ENCODING"),
  ]

  private enum Known: Hashable {
    case text(String)
    /// PyTorch's class `Size` has another text "torch" than its dtypes have.
    case moduleOfSize
    case global(PickleGlobal)
    case singleton(PickleObject)
  }

  private static let batch = 1000

  private let version: Version
  private var output: PickleOutput
  private var memo: [Known: Int] = [:]
  private var memoCount = 0

  private init(_ version: Version) {
    self.version = version
    output = PickleOutput(isFramed: version == .four)
    output.appendUnframed([PickleOpcode.protocolVersion.rawValue, version.rawValue])
  }

  private mutating func write(_ value: PickleValue) throws {
    output.endFrameIfFull()
    switch value {
    case .null: output.append(.none)
    case .bool(let value): output.append(value ? .newTrue : .newFalse)
    case .int(let value): write(value)
    case .largeInt(let bytes): write(long: bytes)
    case .double(let value):
      output.append(.binaryFloat)
      output.append(value.bitPattern.bigEndian)
    case .string(let text): try write(text, as: .text(text))
    case .bytes(let bytes): try write(bytes)
    case .list(let items):
      output.append(.emptyList)
      remember()
      try write(batches: items, one: .append, many: .appends, isExact: true) { try $0.write($1) }
    case .tuple(let items): try write(tuple: items)
    case .set(let items): try write(set: items)
    case .dictionary(let pairs):
      output.append(.emptyDictionary)
      remember()
      try write(pairs: pairs, isExact: true)
    case .global(let global): try write(global)
    case .object(let object): try write(object)
    case .persistent(let id):
      try write(id)
      output.append(.persistentID)
    case .tensor: throw PickleError("a tensor can only be written to a torch.save file")
    }
  }

  // MARK: Memory

  /// Gives the value that was written last the next number.
  private mutating func remember(_ known: Known? = nil) {
    if let known { memo[known] = memoCount }
    if version == .four {
      output.append(.memoize)
    } else if memoCount < 256 {
      output.append(.binaryPut)
      output.append(UInt8(memoCount))
    } else {
      output.append(.longBinaryPut)
      output.append(UInt32(memoCount).littleEndian)
    }
    memoCount += 1
  }

  /// True where the value was written before: then a reference to it is written.
  private mutating func recall(_ known: Known) -> Bool {
    guard let index = memo[known] else { return false }
    if index < 256 {
      output.append(.binaryGet)
      output.append(UInt8(index))
    } else {
      output.append(.longBinaryGet)
      output.append(UInt32(index).littleEndian)
    }
    return true
  }

  // MARK: Plain values

  private mutating func write(_ value: Int) {
    if let byte = UInt8(exactly: value) {
      output.append(.binaryInt1)
      output.append(byte)
    } else if let short = UInt16(exactly: value) {
      output.append(.binaryInt2)
      output.append(short.littleEndian)
    } else if let int = Int32(exactly: value) {
      output.append(.binaryInt)
      output.append(int.littleEndian)
    } else {
      var bytes = withUnsafeBytes(of: value.littleEndian) { Array($0) }
      // As few as keep the sign.
      while bytes.count > 1, bytes.last == (value < 0 ? 0xFF : 0), (bytes[bytes.count - 2] & 0x80 != 0) == (value < 0) {
        bytes.removeLast()
      }
      write(long: bytes)
    }
  }

  private mutating func write(long bytes: [UInt8]) {
    if let count = UInt8(exactly: bytes.count) {
      output.append(.long1)
      output.append(count)
    } else {
      output.append(.long4)
      output.append(UInt32(bytes.count).littleEndian)
    }
    output.append(bytes)
  }

  private mutating func write(_ text: String, as known: Known) throws {
    if recall(known) { return }
    let bytes = Array(text.utf8)
    if version == .four, let count = UInt8(exactly: bytes.count) {
      output.append(header: [PickleOpcode.shortBinaryUnicode.rawValue, count], bytes)
    } else {
      output.append(header: try header(.binaryUnicode, bytes.count), bytes)
    }
    remember(known)
  }

  private mutating func write(_ bytes: [UInt8]) throws {
    guard version == .four else {
      let text = String(String.UnicodeScalarView(bytes.map { Unicode.Scalar($0) }))
      let object = bytes.isEmpty
        ? PickleObject(PickleGlobal("__builtin__", "bytes")) : PickleObject(.encode, [.string(text), "latin1"])
      return try write(object)
    }
    if let count = UInt8(exactly: bytes.count) {
      output.append(header: [PickleOpcode.shortBinaryBytes.rawValue, count], bytes)
    } else {
      output.append(header: try header(.binaryBytes, bytes.count), bytes)
    }
    remember()
  }

  private func header(_ opcode: PickleOpcode, _ count: Int) throws -> [UInt8] {
    guard let count = UInt32(exactly: count) else { throw PickleError("a value of \(count) bytes is too large") }
    return [opcode.rawValue] + withUnsafeBytes(of: count.littleEndian) { Array($0) }
  }

  // MARK: Containers

  private mutating func write(tuple items: [PickleValue]) throws {
    if items.isEmpty { return output.append(.emptyTuple) }
    if items.count > 3 { output.append(.mark) }
    for item in items { try write(item) }
    let short: [PickleOpcode] = [.tuple1, .tuple2, .tuple3]
    output.append(items.count > 3 ? .tuple : short[items.count - 1])
    remember()
  }

  private mutating func write(set items: [PickleValue]) throws {
    guard version == .four else { return try write(PickleObject(PickleGlobal("__builtin__", "set"), [.list(items)])) }
    output.append(.emptySet)
    remember()
    for start in stride(from: 0, to: items.count, by: Self.batch) {
      output.append(.mark)
      for item in items[start..<min(items.count, start + Self.batch)] { try write(item) }
      output.append(.addItems)
    }
  }

  private mutating func write(pairs: [PicklePair], isExact: Bool) throws {
    try write(batches: pairs, one: .setItem, many: .setItems, isExact: isExact) { writer, pair in
      try writer.write(pair.key)
      try writer.write(pair.value)
    }
  }

  /// Python writes the contents of containers in batches.
  /// - Parameter isExact: a list or dictionary itself, not one of a class derived from it. A dictionary itself gets an
  ///   empty batch behind full ones, and a last batch of one is written as a batch.
  private mutating func write<Item>(
    batches items: [Item], one: PickleOpcode, many: PickleOpcode, isExact: Bool,
    _ body: (inout PickleWriter, Item) throws -> Void
  ) throws {
    var start = 0
    while start < items.count {
      let end = min(items.count, start + Self.batch)
      if end - start == 1, items.count == 1 || !isExact {
        try body(&self, items[start])
        output.append(one)
      } else {
        output.append(.mark)
        for item in items[start..<end] { try body(&self, item) }
        output.append(many)
      }
      start = end
    }
    if isExact, many == .setItems, !items.isEmpty, items.count % Self.batch == 0 {
      output.append(.mark)
      output.append(many)
    }
  }

  // MARK: Globals and objects

  private mutating func write(_ global: PickleGlobal) throws {
    if recall(.global(global)) { return }
    if version == .four {
      output.endFrameIfFull()
      try write(global.module, as: global == .torchSize ? .moduleOfSize : .text(global.module))
      output.endFrameIfFull()
      try write(global.name, as: .text(global.name))
      output.append(.stackGlobal)
    } else {
      output.append(.global)
      output.append(Array("\(global.module)\n\(global.name)\n".utf8))
    }
    remember(.global(global))
  }

  private mutating func write(_ object: PickleObject) throws {
    let isSingleton = Self.singletons.contains(object.function)
    if isSingleton, recall(.singleton(object)) { return }
    try write(.global(object.function))
    try write(.tuple(object.arguments))
    output.append(object.construction == .call ? .reduce : .newObject)
    remember(isSingleton ? .singleton(object) : nil)
    try write(batches: object.items, one: .append, many: .appends, isExact: false) { try $0.write($1) }
    try write(pairs: object.pairs, isExact: false)
    if let state = object.state {
      try write(state)
      output.append(.build)
    }
  }
}
