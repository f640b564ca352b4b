import Inference

/// What tells whether a tensor became what it should (`--update-weight-delta-checksum`).
public enum DeltaChecksum: String, Sendable, Codable, CaseIterable {
  case xxh64, adler32

  /// As hexadecimal digits.
  package func of(_ bytes: UnsafeRawBufferPointer) -> String {
    switch self {
    case .xxh64: XXHash64.hex(bytes)
    case .adler32: Self.adler32(bytes)
    }
  }

  /// RFC 1950.
  private static func adler32(_ bytes: UnsafeRawBufferPointer) -> String {
    var (a, b) = (1 as UInt32, 0 as UInt32)
    var start = 0
    while start < bytes.count {
      // So many sums fit into 32 bits.
      let end = min(start + 5552, bytes.count)
      for byte in bytes[start..<end] {
        a &+= UInt32(byte)
        b &+= a
      }
      (a, b, start) = (a % 65521, b % 65521, end)
    }
    let digits = String(b << 16 | a, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
  }
}
