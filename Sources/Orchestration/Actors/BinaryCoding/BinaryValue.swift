import Foundation

/// What an encoder collects before it is written: containers are references, because `Codable` lets several be open at once.
indirect enum BinaryValue {
  case null
  case bool(Bool)
  case integer(Int64)
  case unsigned(UInt64)
  case float(Float)
  case double(Double)
  case string(String)
  case packed(PackedArray)
  case list(BinaryList)
  case object(BinaryObject)
  case slot(BinarySlot)
}

/// An array of numbers, kept as it is until it is written.
struct PackedArray {
  var code: UInt8
  var count: Int
  var byteCount: Int
  var append: (inout [UInt8]) -> Void
}

final class BinaryList { var values: [BinaryValue] = [] }
final class BinaryObject { var pairs: [(key: Int, value: BinaryValue)] = [] }

/// The place that a nested encoder fills; empty until it does.
final class BinarySlot { var value: BinaryValue? }

extension BinaryValue {
  /// A number, string or array of numbers; nil for what has to encode itself.
  init?<T>(directly value: T) {
    if let scalar = Self.scalar(value) {
      self = scalar
    } else if let packed = PackedArray(value) {
      self = .packed(packed)
    } else {
      return nil
    }
  }

  private static func scalar<T>(_ value: T) -> BinaryValue? {
    // Comparing metatypes is a comparison of two pointers; a dynamic cast of an arbitrary value is not.
    if T.self == Int.self { return .integer(Int64(value as! Int)) }
    if T.self == String.self { return .string(value as! String) }
    if T.self == Double.self { return .double(value as! Double) }
    if T.self == Float.self { return .float(value as! Float) }
    if T.self == Bool.self { return .bool(value as! Bool) }
    if T.self == Int64.self { return .integer(value as! Int64) }
    if T.self == Int32.self { return .integer(Int64(value as! Int32)) }
    if T.self == Int16.self { return .integer(Int64(value as! Int16)) }
    if T.self == Int8.self { return .integer(Int64(value as! Int8)) }
    if T.self == UInt.self { return .unsigned(UInt64(value as! UInt)) }
    if T.self == UInt64.self { return .unsigned(value as! UInt64) }
    if T.self == UInt32.self { return .unsigned(UInt64(value as! UInt32)) }
    if T.self == UInt16.self { return .unsigned(UInt64(value as! UInt16)) }
    if T.self == UInt8.self { return .unsigned(UInt64(value as! UInt8)) }
    return nil
  }

  func append(to out: inout [UInt8]) {
    switch self {
    case .null: out.append(BinaryTag.null.rawValue)
    case .bool(let value): out.append((value ? BinaryTag.yes : .no).rawValue)
    case .integer(let value):
      out.append(BinaryTag.integer.rawValue)
      out.append(varint: UInt64(bitPattern: (value << 1) ^ (value >> 63)))
    case .unsigned(let value):
      out.append(BinaryTag.unsigned.rawValue)
      out.append(varint: value)
    case .float(let value):
      out.append(BinaryTag.float.rawValue)
      out.append(littleEndian: value.bitPattern)
    case .double(let value):
      out.append(BinaryTag.double.rawValue)
      out.append(littleEndian: value.bitPattern)
    case .string(let value):
      out.append(BinaryTag.string.rawValue)
      out.append(string: value)
    case .packed(let array):
      out.append(BinaryTag.packed.rawValue)
      out.append(array.code)
      out.append(varint: UInt64(array.count))
      array.append(&out)
    case .list(let list):
      out.append(BinaryTag.list.rawValue)
      out.appendSized { out in
        out.append(varint: UInt64(list.values.count))
        for value in list.values { value.append(to: &out) }
      }
    case .object(let object):
      out.append(BinaryTag.object.rawValue)
      out.appendSized { out in
        out.append(varint: UInt64(object.pairs.count))
        for (key, value) in object.pairs {
          out.append(varint: UInt64(key))
          value.append(to: &out)
        }
      }
    case .slot(let slot): (slot.value ?? .object(BinaryObject())).append(to: &out)
    }
  }
}

extension PackedArray {
  /// Nil unless the value is an array of numbers or `Data`.
  init?<T>(_ value: T) {
    func pack<Element: PackedElement>(_: Element.Type, _ code: UInt8) -> PackedArray {
      let array = value as! [Element]
      return PackedArray(code: code, count: array.count, byteCount: array.count * Element.packedSize) { out in
        array.withUnsafeBytes { out.append(contentsOf: $0) }
      }
    }
    if let code = packedCodes[ObjectIdentifier(T.self)] {
      let element = packedElements[Int(code)]
      self = pack(element, code)
    } else if T.self == Data.self {
      let data = value as! Data
      self.init(code: 0, count: data.count, byteCount: data.count) { $0.append(contentsOf: data) }
    } else {
      return nil
    }
  }
}

extension [UInt8] {
  mutating func append(varint value: UInt64) {
    var value = value
    while value >= 0x80 {
      append(UInt8(truncatingIfNeeded: value) | 0x80)
      value >>= 7
    }
    append(UInt8(value))
  }

  mutating func append(littleEndian value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  mutating func append(string: String) {
    var string = string
    string.withUTF8 { utf8 in
      append(varint: UInt64(utf8.count))
      append(contentsOf: utf8)
    }
  }

  /// Appends what `body` appends, with its byte count as a UInt32 before it.
  mutating func appendSized(_ body: (inout [UInt8]) throws -> Void) rethrows {
    let start = count
    append(littleEndian: UInt32(0))
    try body(&self)
    let size = UInt32(clamping: count - start - 4).littleEndian
    Swift.withUnsafeBytes(of: size) { bytes in
      for (i, byte) in bytes.enumerated() { self[start + i] = byte }
    }
  }
}
