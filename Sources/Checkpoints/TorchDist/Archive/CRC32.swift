/// The checksum of zip archives (ISO 3309, reflected polynomial 0xEDB88320), 16 bytes a step.
package struct CRC32 {
  private var state: UInt32 = .max

  package init() {}

  package var value: UInt32 { ~state }

  package static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    var crc = CRC32()
    crc.update(bytes)
    return crc.value
  }

  package mutating func update(_ bytes: UnsafeRawBufferPointer) {
    guard let start = bytes.baseAddress else { return }
    var crc = state
    Self.tables.withUnsafeBufferPointer { table in
      var i = 0
      while bytes.count - i >= 16 {
        let a = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: i, as: UInt64.self)) ^ UInt64(crc)
        let b = UInt64(littleEndian: start.loadUnaligned(fromByteOffset: i + 8, as: UInt64.self))
        crc = Self.fold(a, table, 15) ^ Self.fold(b, table, 7)
        i += 16
      }
      while i < bytes.count {
        crc = table[Int(UInt8(truncatingIfNeeded: crc) ^ bytes[i])] ^ (crc >> 8)
        i += 1
      }
    }
    state = crc
  }

  /// What 8 bytes contribute, the first of them by the table of number `first`.
  @inline(__always)
  private static func fold(_ word: UInt64, _ table: UnsafeBufferPointer<UInt32>, _ first: Int) -> UInt32 {
    let base = table.baseAddress! + first * 256
    let low = base[Int(word & 0xFF)] ^ base[Int(word >> 8 & 0xFF) - 256] ^ base[Int(word >> 16 & 0xFF) - 512]
      ^ base[Int(word >> 24 & 0xFF) - 768]
    let high = base[Int(word >> 32 & 0xFF) - 1024] ^ base[Int(word >> 40 & 0xFF) - 1280]
      ^ base[Int(word >> 48 & 0xFF) - 1536] ^ base[Int(word >> 56) - 1792]
    return low ^ high
  }

  /// Table `k` holds, for each byte, its contribution when `k` bytes follow it in the same step.
  private static let tables: [UInt32] = {
    var tables = [UInt32](repeating: 0, count: 16 * 256)
    for byte in 0..<256 {
      var crc = UInt32(byte)
      for _ in 0..<8 { crc = crc & 1 == 0 ? crc >> 1 : (crc >> 1) ^ 0xEDB8_8320 }
      tables[byte] = crc
    }
    for i in 256..<tables.count { tables[i] = tables[Int(tables[i - 256] & 0xFF)] ^ (tables[i - 256] >> 8) }
    return tables
  }()
}
