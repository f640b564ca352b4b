/// XXH64 of some bytes (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md): tells whether weights arrived as they
/// were sent, at the speed of memory.
public enum XXHash64 {
  private static let primes: [UInt64] = [
    0x9E37_79B1_85EB_CA87, 0xC2B2_AE3D_27D4_EB4F, 0x1656_67B1_9E37_79F9, 0x85EB_CA77_C2B2_AE63, 0x27D4_EB2F_1656_67C5,
  ]

  public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    let (p1, p2, p3, p4, p5) = (primes[0], primes[1], primes[2], primes[3], primes[4])
    func round(_ lane: UInt64, _ input: UInt64) -> UInt64 { rotate(lane &+ input &* p2, 31) &* p1 }
    func word(_ at: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self).littleEndian }
    var position = 0
    var hash = p5
    if bytes.count >= 32 {
      var (a, b, c, d) = (p1 &+ p2, p2, 0 as UInt64, 0 &- p1)
      while position + 32 <= bytes.count {
        (a, b) = (round(a, word(position)), round(b, word(position + 8)))
        (c, d) = (round(c, word(position + 16)), round(d, word(position + 24)))
        position += 32
      }
      hash = rotate(a, 1) &+ rotate(b, 7) &+ rotate(c, 12) &+ rotate(d, 18)
      for lane in [a, b, c, d] { hash = (hash ^ round(0, lane)) &* p1 &+ p4 }
    }
    hash &+= UInt64(bytes.count)
    while position + 8 <= bytes.count {
      hash = rotate(hash ^ round(0, word(position)), 27) &* p1 &+ p4
      position += 8
    }
    if position + 4 <= bytes.count {
      let half = UInt64(bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self).littleEndian)
      hash = rotate(hash ^ half &* p1, 23) &* p2 &+ p3
      position += 4
    }
    while position < bytes.count {
      hash = rotate(hash ^ UInt64(bytes[position]) &* p5, 11) &* p1
      position += 1
    }
    hash = (hash ^ hash >> 33) &* p2
    hash = (hash ^ hash >> 29) &* p3
    return hash ^ hash >> 32
  }

  /// As 16 hexadecimal digits.
  public static func hex(_ bytes: UnsafeRawBufferPointer) -> String {
    let digits = String(hash(bytes), radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  private static func rotate(_ value: UInt64, _ bits: UInt64) -> UInt64 { value << bits | value >> (64 - bits) }
}
