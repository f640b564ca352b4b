/// A set of bytes.
struct ByteSet: Hashable, Sendable {
  private var words = SIMD4<UInt64>()

  init(_ range: ClosedRange<UInt8>) { for byte in range { insert(byte) } }

  mutating func insert(_ byte: UInt8) { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 != 0 }
}

/// Bytes that no set of a grammar tells apart.
struct ByteClasses: Sendable {
  /// The class of each byte.
  private(set) var classes = [UInt8](repeating: 0, count: 256)
  /// One byte of each class.
  private(set) var representatives: [UInt8] = []

  init(_ sets: some Sequence<ByteSet>) {
    let sets = Set(sets)
    var known: [[Bool]: UInt8] = [:]
    for byte in UInt8.min ... .max {
      let key = sets.map { $0.contains(byte) }
      if let number = known[key] {
        classes[Int(byte)] = number
      } else {
        let number = UInt8(known.count)
        (known[key], classes[Int(byte)]) = (number, number)
        representatives.append(byte)
      }
    }
  }

  var count: Int { representatives.count }
}
