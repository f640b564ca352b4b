/// A set of Unicode code points, as sorted ranges that neither overlap nor touch.
struct ScalarSet: Equatable, Sendable {
  static let maximum: UInt32 = 0x10FFFF
  static let all = ScalarSet([0...maximum])

  private(set) var ranges: [ClosedRange<UInt32>]

  init(_ ranges: [ClosedRange<UInt32>] = []) {
    self.ranges = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = self.ranges.last, range.lowerBound <= last.upperBound &+ 1 {
        self.ranges[self.ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        self.ranges.append(range)
      }
    }
  }

  init(_ scalars: some Sequence<UInt32>) { self.init(scalars.map { $0...$0 }) }
  init(_ scalar: Unicode.Scalar) { self.init([scalar.value...scalar.value]) }

  var isEmpty: Bool { ranges.isEmpty }

  var inverted: ScalarSet {
    var result: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { result.append(next...(range.lowerBound - 1)) }
      next = range.upperBound + 1
    }
    if next <= Self.maximum { result.append(next...Self.maximum) }
    return ScalarSet(result)
  }

  func union(_ other: ScalarSet) -> ScalarSet { ScalarSet(ranges + other.ranges) }
  func intersection(_ other: ScalarSet) -> ScalarSet { inverted.union(other.inverted).inverted }
  func subtracting(_ other: ScalarSet) -> ScalarSet { inverted.union(other).inverted }

  func contains(_ scalar: UInt32) -> Bool {
    var (low, high) = (0, ranges.count)
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < scalar { low = middle + 1 } else { high = middle }
    }
    return low < ranges.count && ranges[low].contains(scalar)
  }

  /// The bytes with which the UTF-8 of a member can begin.
  var leadBytes: ByteSet {
    var bytes = ByteSet()
    for range in ranges {
      for band: ClosedRange<UInt32> in [0...0x7F, 0x80...0x7FF, 0x800...0xFFFF, 0x1_0000...Self.maximum]
      where band.overlaps(range) {
        let part = range.clamped(to: band)
        for byte in UTF8Scalar.leadByte(part.lowerBound)...UTF8Scalar.leadByte(part.upperBound) { bytes.insert(byte) }
      }
    }
    return bytes
  }
}

/// A set of byte values.
struct ByteSet: Equatable, Sendable {
  private(set) var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  static var all: ByteSet {
    var set = ByteSet()
    set.words = (~0, ~0, ~0, ~0)
    return set
  }

  static func == (a: ByteSet, b: ByteSet) -> Bool { a.words == b.words }

  mutating func insert(_ byte: UInt8) {
    let bit: UInt64 = 1 << UInt64(byte & 63)
    switch byte >> 6 {
    case 0: words.0 |= bit
    case 1: words.1 |= bit
    case 2: words.2 |= bit
    default: words.3 |= bit
    }
  }

  mutating func formUnion(_ other: ByteSet) {
    words = (words.0 | other.words.0, words.1 | other.words.1, words.2 | other.words.2, words.3 | other.words.3)
  }

  @inline(__always)
  func contains(_ byte: UInt8) -> Bool {
    let word = byte & 128 == 0 ? (byte & 64 == 0 ? words.0 : words.1) : (byte & 64 == 0 ? words.2 : words.3)
    return word >> UInt64(byte & 63) & 1 != 0
  }
}
