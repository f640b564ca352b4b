/// Decodes what `BinaryEncoder` wrote. Bytes that it did not write throw a `DecodingError`.
public struct BinaryDecoder {
  public var userInfo: [CodingUserInfoKey: any Sendable] = [:]

  public init() {}

  public func decode<T: Decodable>(_ type: T.Type = T.self, from bytes: [UInt8]) throws -> T {
    try decode(type, from: bytes, in: bytes.indices)
  }

  /// Decodes the message that lies in a part of `bytes`.
  public func decode<T: Decodable>(_ type: T.Type = T.self, from bytes: [UInt8], in range: Range<Int>) throws -> T {
    var reader = BinaryReader(bytes, range)
    let keyCount = try reader.varint()
    guard keyCount <= UInt64(reader.remaining) else { throw BinaryReader.malformed("\(keyCount) keys announced") }
    let keys = try (0..<keyCount).map { _ in try reader.string() }
    let message = BinaryMessage(bytes: bytes, keys: keys, userInfo: userInfo)
    let start = reader.offset
    try reader.skip()
    guard reader.remaining == 0 else { throw BinaryReader.malformed("\(reader.remaining) bytes after the value") }
    return try message.decode(type, at: BinaryItem(range: start..<reader.end), path: [])
  }
}

/// What all decoders of one message share.
final class BinaryMessage {
  let bytes: [UInt8]
  let keys: [String]
  let userInfo: [CodingUserInfoKey: any Sendable]

  init(bytes: [UInt8], keys: [String], userInfo: [CodingUserInfoKey: any Sendable]) {
    (self.bytes, self.keys, self.userInfo) = (bytes, keys, userInfo)
  }

  func decode<T: Decodable>(_ type: T.Type, at item: BinaryItem, path: @autoclosure () -> [any CodingKey]) throws -> T {
    if var reader = try reader(of: .packed, at: item), let array = try reader.packed().array(as: type, in: bytes) {
      return array
    }
    if isScalar(type) {
      guard let value = try scalar(at: item)?.converted(to: type) else { throw mismatch(type, at: item, path: path()) }
      return value
    }
    let path = path()
    guard path.count < maximumBinaryDepth else {
      throw BinaryReader.malformed("nested deeper than \(maximumBinaryDepth) levels")
    }
    return try T(from: BinaryValueDecoder(message: self, item: item, codingPath: path))
  }

  func mismatch(_ type: Any.Type, at item: BinaryItem, path: [any CodingKey]) -> DecodingError {
    let found = (try? tag(of: item)).map { "\($0)" } ?? "nothing"
    return .typeMismatch(type, .init(codingPath: path, debugDescription: "\(type) expected, \(found) found"))
  }

  func tag(of item: BinaryItem) throws -> BinaryTag {
    guard item.element == nil else { return .integer }
    var reader = BinaryReader(bytes, item.range)
    return try reader.tag()
  }

  func isNull(_ item: BinaryItem) throws -> Bool { try tag(of: item) == .null }

  /// A reader behind the item's tag, if the tag is the wanted one.
  func reader(of wanted: BinaryTag, at item: BinaryItem) throws -> BinaryReader? {
    guard item.element == nil else { return nil }
    var reader = BinaryReader(bytes, item.range)
    return try reader.tag() == wanted ? reader : nil
  }

  private func isScalar<T>(_ type: T.Type) -> Bool {
    T.self == Int.self || T.self == String.self || T.self == Double.self || T.self == Float.self || T.self == Bool.self
      || T.self == Int64.self || T.self == Int32.self || T.self == Int16.self || T.self == Int8.self
      || T.self == UInt.self || T.self == UInt64.self || T.self == UInt32.self || T.self == UInt16.self
      || T.self == UInt8.self
  }

  private func scalar(at item: BinaryItem) throws -> BinaryScalar? {
    if let (block, index) = item.element { return block.scalar(at: index, in: bytes) }
    var reader = BinaryReader(bytes, item.range)
    switch try reader.tag() {
    case .null: return .null
    case .no: return .bool(false)
    case .yes: return .bool(true)
    case .integer:
      let bits = try reader.varint()
      return .integer(Int64(bitPattern: (bits >> 1) ^ (0 &- (bits & 1))))
    case .unsigned: return .unsigned(try reader.varint())
    case .float: return .float(Float(bitPattern: try reader.fixed(UInt32.self)))
    case .double: return .double(Double(bitPattern: try reader.fixed(UInt64.self)))
    case .string: return .string(try reader.string())
    case .packed, .list, .object: return nil
    }
  }
}

/// One value of a message: its bytes with the tag, or one element of a packed array.
struct BinaryItem {
  var range: Range<Int>
  var element: (block: PackedBlock, index: Int)?

  init(range: Range<Int>) { self.range = range }
  init(block: PackedBlock, index: Int) { (range, element) = (block.range, (block, index)) }
}

struct BinaryValueDecoder: Decoder {
  let message: BinaryMessage
  let item: BinaryItem
  let codingPath: [any CodingKey]
  var userInfo: [CodingUserInfoKey: Any] { message.userInfo }

  func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
    KeyedDecodingContainer(try BinaryKeyedDecoding<Key>(message: message, item: item, codingPath: codingPath))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    try BinaryListDecoding(message: message, item: item, codingPath: codingPath)
  }

  func singleValueContainer() -> any SingleValueDecodingContainer {
    BinarySingleDecoding(message: message, item: item, codingPath: codingPath)
  }
}
