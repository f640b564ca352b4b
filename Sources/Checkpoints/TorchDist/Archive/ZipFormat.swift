/// Zip archives as PyTorch writes them: entries are stored, not compressed; each begins at a multiple of 64 bytes,
/// counted from the archive's beginning; its size and checksum stand behind it; sizes and places beyond 32 bits get the
/// fields of zip64. (PKWARE's APPNOTE 6.3 describes the structures.)
package enum ZipFormat {
  static let alignment = 64
  /// From here on a number does not fit its 32-bit field.
  static let limit = Int(UInt32.max)

  static let localHeaderSignature: UInt32 = 0x0403_4B50
  static let descriptorSignature: UInt32 = 0x0807_4B50
  static let centralHeaderSignature: UInt32 = 0x0201_4B50
  static let end64Signature: UInt32 = 0x0606_4B50
  static let end64LocatorSignature: UInt32 = 0x0706_4B50
  static let endSignature: UInt32 = 0x0605_4B50

  static let localHeaderCount = 30
  static let centralHeaderCount = 46
  static let end64Count = 56
  static let end64LocatorCount = 20
  static let endCount = 22

  /// UTF-8 names; sizes and checksum behind the data, where there are any.
  private static func flags(_ byteCount: Int) -> UInt16 { byteCount == 0 ? 0x0800 : 0x0808 }

  /// One entry of an archive.
  package struct Entry: Equatable {
    package var name: String
    /// Where its local header begins.
    package var offset: Int
    package var byteCount: Int
    package var checksum: UInt32

    package init(name: String, offset: Int, byteCount: Int, checksum: UInt32) {
      (self.name, self.offset, self.byteCount, self.checksum) = (name, offset, byteCount, checksum)
    }
  }

  /// What stands before an entry's data.
  package static func localHeader(name: String, offset: Int, byteCount: Int) -> [UInt8] {
    let large = largeFields(offset: offset, byteCount: byteCount, isLocal: true)
    // Padding is a field of its own: two letters, its length, and Zs.
    let unpadded = offset + localHeaderCount + name.utf8.count + large.count + 4
    let padding = (alignment - unpadded % alignment) % alignment
    var bytes = ZipBytes()
    bytes.append(localHeaderSignature)
    bytes.append(UInt16(0))
    bytes.append(flags(byteCount))
    bytes.appendZeros(18)
    bytes.append(UInt16(name.utf8.count))
    bytes.append(UInt16(large.count + 4 + padding))
    bytes.append(Array(name.utf8))
    bytes.append(large)
    bytes.append(Array("FB".utf8))
    bytes.append(UInt16(padding))
    bytes.append([UInt8](repeating: UInt8(ascii: "Z"), count: padding))
    return bytes.bytes
  }

  /// What stands behind an entry's data: nothing, where there are none.
  package static func descriptor(of entry: Entry) -> [UInt8] {
    if entry.byteCount == 0 { return [] }
    var bytes = ZipBytes()
    bytes.append(descriptorSignature)
    bytes.append(entry.checksum)
    for _ in 0..<2 {
      if entry.offset >= limit || entry.byteCount >= limit {
        bytes.append(UInt64(entry.byteCount))
      } else {
        bytes.append(UInt32(entry.byteCount))
      }
    }
    return bytes.bytes
  }

  /// The directory at the archive's end, and what leads to it.
  package static func directory(of entries: [Entry], at offset: Int) -> [UInt8] {
    var bytes = ZipBytes()
    for entry in entries {
      let large = largeFields(offset: entry.offset, byteCount: entry.byteCount)
      let size = UInt32(min(entry.byteCount, limit))
      bytes.append(centralHeaderSignature)
      bytes.append(UInt32(0))
      bytes.append(flags(entry.byteCount))
      bytes.appendZeros(6)
      bytes.append(entry.checksum)
      bytes.append(size)
      bytes.append(size)
      bytes.append(UInt16(entry.name.utf8.count))
      bytes.append(UInt16(large.count))
      bytes.appendZeros(10)
      bytes.append(UInt32(min(entry.offset, limit)))
      bytes.append(Array(entry.name.utf8))
      bytes.append(large)
    }
    let count = bytes.bytes.count
    // The end in 64 bits is always written, and the 32-bit one behind it.
    bytes.append(end64Signature)
    bytes.append(UInt64(end64Count - 12))
    bytes.append(UInt16(0x031E))
    bytes.append(UInt16(45))
    bytes.appendZeros(8)
    bytes.append(UInt64(entries.count))
    bytes.append(UInt64(entries.count))
    bytes.append(UInt64(count))
    bytes.append(UInt64(offset))
    bytes.append(end64LocatorSignature)
    bytes.append(UInt32(0))
    bytes.append(UInt64(offset + count))
    bytes.append(UInt32(1))
    bytes.append(endSignature)
    bytes.append(UInt32(0))
    bytes.append(UInt16(min(entries.count, Int(UInt16.max))))
    bytes.append(UInt16(min(entries.count, Int(UInt16.max))))
    bytes.append(UInt32(min(count, limit)))
    bytes.append(UInt32(min(offset, limit)))
    bytes.append(UInt16(0))
    return bytes.bytes
  }

  /// The zip64 field with the numbers that do not fit; empty where all do.
  /// - Parameter isLocal: in front of the data, where the stored size counts as not known yet.
  private static func largeFields(offset: Int, byteCount: Int, isLocal: Bool = false) -> [UInt8] {
    var numbers: [UInt64] = []
    if byteCount >= limit { numbers += [UInt64(byteCount), isLocal ? 0 : UInt64(byteCount)] }
    if offset >= limit { numbers.append(UInt64(offset)) }
    guard !numbers.isEmpty else { return [] }
    var bytes = ZipBytes()
    bytes.append(UInt16(1))
    bytes.append(UInt16(8 * numbers.count))
    for number in numbers { bytes.append(number) }
    return bytes.bytes
  }
}

private struct ZipBytes {
  private(set) var bytes: [UInt8] = []

  mutating func append<Number: FixedWidthInteger>(_ number: Number) {
    withUnsafeBytes(of: number.littleEndian) { bytes += $0 }
  }
  mutating func append(_ more: [UInt8]) { bytes += more }
  mutating func appendZeros(_ count: Int) { bytes += [UInt8](repeating: 0, count: count) }
}
