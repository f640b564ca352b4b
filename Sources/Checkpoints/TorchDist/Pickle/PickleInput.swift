/// The bytes of a pickle, read from front to back.
struct PickleInput {
  private let bytes: UnsafeRawBufferPointer
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  var remaining: Int { bytes.count - position }
  var isAtEnd: Bool { remaining == 0 }

  func truncated() -> PickleError { PickleError("the pickle is truncated: it ends after \(bytes.count) bytes") }

  mutating func byte() throws -> UInt8 {
    guard !isAtEnd else { throw truncated() }
    defer { position += 1 }
    return bytes[position]
  }

  mutating func bytes(_ count: Int) throws -> UnsafeRawBufferPointer {
    guard count <= remaining else { throw truncated() }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  /// A little-endian number of at most 7 bytes.
  mutating func unsigned(_ count: Int) throws -> Int {
    var value = 0
    for (i, byte) in try bytes(count).enumerated() { value |= Int(byte) << (8 * i) }
    return value
  }

  /// A little-endian count of 8 bytes.
  mutating func count8() throws -> Int {
    guard let value = Int(exactly: try bytes(8).loadUnaligned(as: UInt64.self).littleEndian) else { throw truncated() }
    return value
  }

  mutating func double() throws -> Double {
    Double(bitPattern: try bytes(8).loadUnaligned(as: UInt64.self).bigEndian)
  }

  mutating func text(_ count: Int) throws -> String {
    let start = position
    guard let text = String(validating: try bytes(count), as: UTF8.self) else {
      throw PickleError("the pickle has text at byte \(start) that is not UTF-8")
    }
    return text
  }

  /// Text up to the end of the line.
  mutating func line() throws -> String {
    guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else { throw truncated() }
    defer { position += 1 }
    return try text(end - position)
  }
}
