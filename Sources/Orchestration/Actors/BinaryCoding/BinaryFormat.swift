/// The first byte of an encoded value.
///
/// A message is a table of the distinct coding keys (varint count, then varint length and UTF-8 each) and one value:
///
/// | tag | payload |
/// |---|---|
/// | integer, unsigned | varint (integers in zigzag form) |
/// | float, double | 4 or 8 bytes, little endian |
/// | string | varint byte count, UTF-8 |
/// | packed | element code, varint count, the elements in little endian without gaps |
/// | list | UInt32 byte count of what follows, varint count, values |
/// | object | UInt32 byte count of what follows, varint count, pairs of varint key index and value |
///
/// Every payload's extent is known from its first bytes, so a reader skips values without looking inside them.
enum BinaryTag: UInt8 {
  case null, no, yes, integer, unsigned, float, double, string, packed, list, object
}

/// Containers nested deeper than this are refused by both sides, so that no input exhausts the stack.
let maximumBinaryDepth = 256

/// A number whose arrays travel as one block of memory.
protocol PackedElement: BitwiseCopyable, Codable, Sendable {}

extension UInt8: PackedElement {}
extension Int8: PackedElement {}
extension UInt16: PackedElement {}
extension Int16: PackedElement {}
extension UInt32: PackedElement {}
extension Int32: PackedElement {}
extension UInt64: PackedElement {}
extension Int64: PackedElement {}
extension Float: PackedElement {}
extension Double: PackedElement {}
extension Int: PackedElement {}

/// The element types; the code of one in a message is its index.
let packedElements: [any PackedElement.Type] = [
  UInt8.self, Int8.self, UInt16.self, Int16.self, UInt32.self, Int32.self, UInt64.self, Int64.self, Float.self, Double.self,
  Int.self,
]

/// The code of an array type's elements.
let packedCodes: [ObjectIdentifier: UInt8] = {
  func array<Element: PackedElement>(of _: Element.Type) -> ObjectIdentifier { ObjectIdentifier([Element].self) }
  return Dictionary(uniqueKeysWithValues: packedElements.enumerated().map { (array(of: $1), UInt8($0)) })
}()

extension PackedElement {
  static var packedSize: Int { MemoryLayout<Self>.size }
}

/// A coding key for positions in lists and for `super`.
struct BinaryKey: CodingKey {
  var stringValue: String
  var intValue: Int?

  init(stringValue: String) { self.stringValue = stringValue }
  init(intValue: Int) { (self.stringValue, self.intValue) = ("\(intValue)", intValue) }
  init(_ index: Int) { self.init(intValue: index) }

  static let `super` = BinaryKey(stringValue: "super")
}
