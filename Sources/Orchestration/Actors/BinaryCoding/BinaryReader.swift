import Foundation

/// Reads one encoded message. Every access is checked, so that bytes that no encoder wrote throw and never trap.
struct BinaryReader {
  let bytes: [UInt8]
  var offset: Int
  let end: Int

  init(_ bytes: [UInt8], _ range: Range<Int>) {
    (self.bytes, offset, end) = (bytes, range.lowerBound, range.upperBound)
  }

  static func malformed(_ sentence: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: [], debugDescription: "malformed message: \(sentence)"))
  }

  var remaining: Int { end - offset }

  mutating func take(_ count: UInt64) throws -> Range<Int> {
    guard count <= UInt64(remaining) else { throw Self.malformed("\(count) bytes announced, \(remaining) left") }
    defer { offset += Int(count) }
    return offset..<(offset + Int(count))
  }

  mutating func byte() throws -> UInt8 { bytes[try take(1).lowerBound] }

  mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0, to: 64, by: 7) {
      let byte = try byte()
      let bits = UInt64(byte & 0x7F)
      if shift == 63 && bits > 1 { break }
      value |= bits << UInt64(shift)
      if byte & 0x80 == 0 { return value }
    }
    throw Self.malformed("an integer of more than 64 bits")
  }

  mutating func fixed<T: FixedWidthInteger>(_: T.Type) throws -> T {
    let range = try take(UInt64(MemoryLayout<T>.size))
    return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: range.lowerBound, as: T.self)) }
  }

  mutating func string() throws -> String {
    let range = try take(try varint())
    guard let string = String(validating: bytes[range], as: UTF8.self) else { throw Self.malformed("a string that is not UTF-8") }
    return string
  }

  mutating func tag() throws -> BinaryTag {
    let byte = try byte()
    guard let tag = BinaryTag(rawValue: byte) else { throw Self.malformed("unknown tag \(byte)") }
    return tag
  }

  /// Passes over one value without looking into containers.
  mutating func skip() throws {
    switch try tag() {
    case .null, .no, .yes: break
    case .integer, .unsigned: _ = try varint()
    case .float: _ = try take(4)
    case .double: _ = try take(8)
    case .string: _ = try take(try varint())
    case .packed: _ = try packed()
    case .list, .object: _ = try take(UInt64(try fixed(UInt32.self)))
    }
  }

  /// What follows the tag of a packed array.
  mutating func packed() throws -> PackedBlock {
    let code = try byte()
    guard code < packedElements.count else { throw Self.malformed("unknown element code \(code)") }
    let element = packedElements[Int(code)]
    let count = try varint()
    let (size, overflow) = count.multipliedReportingOverflow(by: UInt64(element.packedSize))
    guard !overflow else { throw Self.malformed("an array of \(count) elements") }
    return PackedBlock(element: element, range: try take(size))
  }
}

/// Where an array of numbers lies in a message.
struct PackedBlock {
  let element: any PackedElement.Type
  let range: Range<Int>
  var count: Int { range.count / element.packedSize }

  /// The whole array if that is what T is.
  func array<T>(as _: T.Type, in bytes: [UInt8]) -> T? {
    func unpack<Element: PackedElement>(_: Element.Type) -> T? {
      guard T.self == [Element].self else { return nil }
      let array = [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
        bytes.withUnsafeBytes {
          UnsafeMutableRawBufferPointer(buffer).copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range]))
        }
        initialized = count
      }
      return (array as! T)
    }
    if T.self == Data.self { return element == UInt8.self ? (Data(bytes[range]) as! T) : nil }
    return unpack(element)
  }

  /// One element, as a value of its own.
  func scalar(at index: Int, in bytes: [UInt8]) -> BinaryScalar {
    func load<Element: PackedElement>(_: Element.Type) -> Element {
      bytes.withUnsafeBytes {
        $0.loadUnaligned(fromByteOffset: range.lowerBound + index * Element.packedSize, as: Element.self)
      }
    }
    let value: any PackedElement = load(element)
    return switch value {
    case let value as Float: .float(value)
    case let value as Double: .double(value)
    case let value as UInt64: .unsigned(value)
    case let value as any BinaryInteger: .integer(Int64(value))
    default: .null
    }
  }
}

/// A value without parts, as read.
enum BinaryScalar {
  case null, bool(Bool), integer(Int64), unsigned(UInt64), float(Float), double(Double), string(String)

  /// The value as a `T` if T is one of the types that stand for themselves and holds it exactly; nil otherwise.
  func converted<T>(to type: T.Type) -> T? {
    if T.self == String.self { if case .string(let value) = self { return value as? T } else { return nil } }
    if T.self == Bool.self { if case .bool(let value) = self { return value as? T } else { return nil } }
    if T.self == Double.self { return double as? T }
    if T.self == Float.self { return float as? T }
    if T.self == Int.self { return integer(Int.self) as? T }
    if let type = T.self as? any FixedWidthInteger.Type { return integer(type) as? T }
    return nil
  }

  private var double: Double? {
    switch self {
    case .double(let value): value
    case .float(let value): Double(value)
    case .integer(let value): Double(exactly: value)
    case .unsigned(let value): Double(exactly: value)
    default: nil
    }
  }

  private var float: Float? {
    switch self {
    case .float(let value): value
    case .double(let value): Float(value)
    case .integer(let value): Float(exactly: value)
    case .unsigned(let value): Float(exactly: value)
    default: nil
    }
  }

  private func integer<Integer: FixedWidthInteger>(_: Integer.Type) -> Integer? {
    switch self {
    case .integer(let value): Integer(exactly: value)
    case .unsigned(let value): Integer(exactly: value)
    default: nil
    }
  }
}
