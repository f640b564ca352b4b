/// A fast hash of bytes for tables whose keys no adversary chooses to any profit: a collision only costs a comparison.
enum ByteHash {
  private static let multiplier: UInt64 = 0x9E37_79B9_7F4A_7C15

  @inline(__always)
  static func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    let raw = UnsafeRawPointer(bytes)
    var hash = UInt64(truncatingIfNeeded: count) &* multiplier
    if count < 8 {
      hash ^= load(raw, count)
    } else {
      var index = 0
      while index &+ 8 <= count {
        hash = mix(hash ^ raw.loadUnaligned(fromByteOffset: index, as: UInt64.self))
        index &+= 8
      }
      hash ^= raw.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    }
    return mix(hash)
  }

  @inline(__always)
  static func mix(_ value: UInt64) -> UInt64 {
    let product = (value ^ value >> 32).multipliedFullWidth(by: multiplier)
    return product.high ^ product.low
  }

  /// Fewer than eight bytes as one word.
  @inline(__always)
  private static func load(_ raw: UnsafeRawPointer, _ count: Int) -> UInt64 {
    if count >= 4 {
      let low = UInt64(raw.loadUnaligned(as: UInt32.self))
      return low | UInt64(raw.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)) << 32
    }
    if count == 0 { return 0 }
    let first = UInt64(raw.load(as: UInt8.self))
    let middle = UInt64(raw.load(fromByteOffset: count >> 1, as: UInt8.self))
    return first | middle << 8 | UInt64(raw.load(fromByteOffset: count &- 1, as: UInt8.self)) << 16
  }
}
