// One generic `decode` is the witness of every `decode` that the container protocols ask for.

struct BinarySingleDecoding: SingleValueDecodingContainer {
  let message: BinaryMessage
  let item: BinaryItem
  let codingPath: [any CodingKey]

  func decodeNil() -> Bool { (try? message.isNull(item)) ?? false }

  func decode<T: Decodable>(_ type: T.Type) throws -> T {
    try message.decode(type, at: item, path: codingPath + [BinaryKey(0)])
  }
}

struct BinaryListDecoding: UnkeyedDecodingContainer {
  let message: BinaryMessage
  let codingPath: [any CodingKey]
  private let items: Items
  private(set) var currentIndex = 0

  private enum Items {
    case values([Range<Int>])
    case packed(PackedBlock)
  }

  init(message: BinaryMessage, item: BinaryItem, codingPath: [any CodingKey]) throws {
    (self.message, self.codingPath) = (message, codingPath)
    if var reader = try message.reader(of: .packed, at: item) {
      items = .packed(try reader.packed())
    } else if var reader = try message.reader(of: .list, at: item) {
      _ = try reader.fixed(UInt32.self)
      let count = try reader.varint()
      guard count <= UInt64(reader.remaining) else { throw BinaryReader.malformed("\(count) values announced") }
      var ranges: [Range<Int>] = []
      ranges.reserveCapacity(Int(count))
      for _ in 0..<count {
        let start = reader.offset
        try reader.skip()
        ranges.append(start..<reader.offset)
      }
      items = .values(ranges)
    } else {
      throw message.mismatch([Any].self, at: item, path: codingPath)
    }
  }

  var count: Int? {
    switch items {
    case .values(let ranges): ranges.count
    case .packed(let block): block.count
    }
  }

  var isAtEnd: Bool { currentIndex >= count! }

  private func current(_ type: Any.Type) throws -> BinaryItem {
    guard !isAtEnd else {
      throw DecodingError.valueNotFound(
        type, .init(codingPath: codingPath, debugDescription: "the list has only \(currentIndex) values"))
    }
    return switch items {
    case .values(let ranges): BinaryItem(range: ranges[currentIndex])
    case .packed(let block): BinaryItem(block: block, index: currentIndex)
    }
  }

  private var path: [any CodingKey] { codingPath + [BinaryKey(currentIndex)] }

  mutating func decodeNil() throws -> Bool {
    let isNull = try message.isNull(try current(Any?.self))
    if isNull { currentIndex += 1 }
    return isNull
  }

  mutating func decode<T: Decodable>(_ type: T.Type) throws -> T {
    let value = try message.decode(type, at: try current(type), path: path)
    currentIndex += 1
    return value
  }

  mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    let container = try BinaryKeyedDecoding<Key>(message: message, item: try current(type), codingPath: path)
    currentIndex += 1
    return KeyedDecodingContainer(container)
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    let container = try BinaryListDecoding(message: message, item: try current([Any].self), codingPath: path)
    currentIndex += 1
    return container
  }

  mutating func superDecoder() throws -> any Decoder {
    let decoder = BinaryValueDecoder(message: message, item: try current(Any.self), codingPath: path)
    currentIndex += 1
    return decoder
  }
}

struct BinaryKeyedDecoding<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let message: BinaryMessage
  let codingPath: [any CodingKey]
  private let pairs: [(key: Int, range: Range<Int>)]
  /// Where the last key was found: keys are nearly always asked for in the order in which they were written.
  private let cursor = Cursor()

  private final class Cursor { var index = 0 }

  init(message: BinaryMessage, item: BinaryItem, codingPath: [any CodingKey]) throws {
    (self.message, self.codingPath) = (message, codingPath)
    guard var reader = try message.reader(of: .object, at: item) else {
      throw message.mismatch([String: Any].self, at: item, path: codingPath)
    }
    _ = try reader.fixed(UInt32.self)
    let count = try reader.varint()
    guard count <= UInt64(reader.remaining) else { throw BinaryReader.malformed("\(count) pairs announced") }
    var pairs: [(key: Int, range: Range<Int>)] = []
    pairs.reserveCapacity(Int(count))
    for _ in 0..<count {
      let key = try reader.varint()
      guard key < UInt64(message.keys.count) else { throw BinaryReader.malformed("key \(key) of \(message.keys.count)") }
      let start = reader.offset
      try reader.skip()
      pairs.append((Int(key), start..<reader.offset))
    }
    self.pairs = pairs
  }

  var allKeys: [Key] { pairs.compactMap { Key(stringValue: message.keys[$0.key]) } }

  func contains(_ key: Key) -> Bool { item(for: key) != nil }

  private func item(for key: any CodingKey) -> BinaryItem? {
    let name = key.stringValue
    for step in 0..<pairs.count {
      let index = (cursor.index + step) % pairs.count
      if message.keys[pairs[index].key] == name {
        cursor.index = index
        return BinaryItem(range: pairs[index].range)
      }
    }
    return nil
  }

  private func found(_ key: any CodingKey) throws -> BinaryItem {
    if let item = item(for: key) { return item }
    throw DecodingError.keyNotFound(
      key, .init(codingPath: codingPath, debugDescription: "no value for the key \(key.stringValue)"))
  }

  func decodeNil(forKey key: Key) throws -> Bool { try message.isNull(try found(key)) }

  func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
    try message.decode(type, at: try found(key), path: codingPath + [key])
  }

  func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<Nested> {
    KeyedDecodingContainer(
      try BinaryKeyedDecoding<Nested>(message: message, item: try found(key), codingPath: codingPath + [key]))
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try BinaryListDecoding(message: message, item: try found(key), codingPath: codingPath + [key])
  }

  func superDecoder() throws -> any Decoder { try decoder(for: BinaryKey.super) }
  func superDecoder(forKey key: Key) throws -> any Decoder { try decoder(for: key) }

  private func decoder(for key: any CodingKey) throws -> any Decoder {
    BinaryValueDecoder(message: message, item: try found(key), codingPath: codingPath + [key])
  }
}
