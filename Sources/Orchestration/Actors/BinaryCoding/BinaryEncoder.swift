/// Encodes `Codable` values compactly; arrays of numbers are copied as one block.
///
/// Both ends of a connection are the same executable, so the format carries no version.
public struct BinaryEncoder {
  public init() {}

  public func encode<T: Encodable>(_ value: T) throws -> [UInt8] {
    var bytes: [UInt8] = []
    try encode(value, into: &bytes)
    return bytes
  }

  /// Appends the encoded value to `bytes`.
  public func encode<T: Encodable>(_ value: T, into bytes: inout [UInt8]) throws {
    let message = BinaryMessageBuilder()
    let root = try message.value(of: value, path: [])
    let start = bytes.count
    bytes.reserveCapacity(bytes.count + message.packedBytes + 256)
    bytes.append(varint: UInt64(message.keys.count))
    for key in message.keys { bytes.append(string: key) }
    root.append(to: &bytes)
    // The byte counts of containers are 32 bits wide.
    guard bytes.count - start <= UInt32.max else {
      throw EncodingError.invalidValue(
        T.self, .init(codingPath: [], debugDescription: "a \(T.self) of \(bytes.count - start) bytes; at most 4 GiB travel at once"))
    }
  }
}

/// What all encoders of one message share: the table of keys.
final class BinaryMessageBuilder {
  private(set) var keys: [String] = []
  private var indices: [String: Int] = [:]
  /// Bytes of the number arrays met so far: nearly the size of a large message.
  private(set) var packedBytes = 0

  func index(of key: String) -> Int {
    if let index = indices[key] { return index }
    indices[key] = keys.count
    keys.append(key)
    return keys.count - 1
  }

  func value<T: Encodable>(of value: T, path: @autoclosure () -> [any CodingKey]) throws -> BinaryValue {
    if let direct = BinaryValue(directly: value) {
      if case .packed(let array) = direct { packedBytes += array.byteCount }
      return direct
    }
    let path = path()
    guard path.count < maximumBinaryDepth else {
      throw EncodingError.invalidValue(
        value, .init(codingPath: path, debugDescription: "nested deeper than \(maximumBinaryDepth) levels"))
    }
    let slot = BinarySlot()
    try value.encode(to: BinaryValueEncoder(message: self, slot: slot, codingPath: path))
    return slot.value ?? .object(BinaryObject())
  }
}

struct BinaryValueEncoder: Encoder {
  let message: BinaryMessageBuilder
  let slot: BinarySlot
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    // A class and its superclass may both ask for the container of one value.
    if case .object(let object) = slot.value {
      return KeyedEncodingContainer(BinaryKeyedEncoding(message: message, object: object, codingPath: codingPath))
    }
    let object = BinaryObject()
    slot.value = .object(object)
    return KeyedEncodingContainer(BinaryKeyedEncoding(message: message, object: object, codingPath: codingPath))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    if case .list(let list) = slot.value {
      return BinaryListEncoding(message: message, list: list, codingPath: codingPath)
    }
    let list = BinaryList()
    slot.value = .list(list)
    return BinaryListEncoding(message: message, list: list, codingPath: codingPath)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer {
    BinarySingleEncoding(message: message, slot: slot, codingPath: codingPath)
  }
}

// One generic `encode` is the witness of every `encode` that the container protocols ask for.

struct BinarySingleEncoding: SingleValueEncodingContainer {
  let message: BinaryMessageBuilder
  let slot: BinarySlot
  let codingPath: [any CodingKey]

  mutating func encodeNil() { slot.value = .null }

  mutating func encode<T: Encodable>(_ value: T) throws {
    // The path grows here too: a type that only ever encodes itself would otherwise recurse without end.
    slot.value = try message.value(of: value, path: codingPath + [BinaryKey(0)])
  }
}

struct BinaryListEncoding: UnkeyedEncodingContainer {
  let message: BinaryMessageBuilder
  let list: BinaryList
  let codingPath: [any CodingKey]
  var count: Int { list.values.count }
  private var path: [any CodingKey] { codingPath + [BinaryKey(count)] }

  init(message: BinaryMessageBuilder, list: BinaryList, codingPath: [any CodingKey]) {
    (self.message, self.list, self.codingPath) = (message, list, codingPath)
  }

  mutating func encodeNil() { list.values.append(.null) }

  mutating func encode<T: Encodable>(_ value: T) throws {
    list.values.append(try message.value(of: value, path: path))
  }

  mutating func nestedContainer<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    let object = BinaryObject()
    defer { list.values.append(.object(object)) }
    return KeyedEncodingContainer(BinaryKeyedEncoding(message: message, object: object, codingPath: path))
  }

  mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    let nested = BinaryList()
    defer { list.values.append(.list(nested)) }
    return BinaryListEncoding(message: message, list: nested, codingPath: path)
  }

  mutating func superEncoder() -> any Encoder {
    let slot = BinarySlot()
    defer { list.values.append(.slot(slot)) }
    return BinaryValueEncoder(message: message, slot: slot, codingPath: path)
  }
}

struct BinaryKeyedEncoding<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let message: BinaryMessageBuilder
  let object: BinaryObject
  let codingPath: [any CodingKey]

  private func set(_ value: BinaryValue, for key: any CodingKey) {
    object.pairs.append((message.index(of: key.stringValue), value))
  }

  mutating func encodeNil(forKey key: Key) { set(.null, for: key) }

  mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
    set(try message.value(of: value, path: codingPath + [key]), for: key)
  }

  mutating func nestedContainer<Nested: CodingKey>(
    keyedBy type: Nested.Type, forKey key: Key
  ) -> KeyedEncodingContainer<Nested> {
    let nested = BinaryObject()
    set(.object(nested), for: key)
    return KeyedEncodingContainer(
      BinaryKeyedEncoding<Nested>(message: message, object: nested, codingPath: codingPath + [key]))
  }

  mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    let list = BinaryList()
    set(.list(list), for: key)
    return BinaryListEncoding(message: message, list: list, codingPath: codingPath + [key])
  }

  mutating func superEncoder() -> any Encoder { encoder(for: BinaryKey.super) }
  mutating func superEncoder(forKey key: Key) -> any Encoder { encoder(for: key) }

  private func encoder(for key: any CodingKey) -> any Encoder {
    let slot = BinarySlot()
    set(.slot(slot), for: key)
    return BinaryValueEncoder(message: message, slot: slot, codingPath: codingPath + [key])
  }
}
