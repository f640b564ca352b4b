/// A set of Unicode scalars, as sorted ranges that neither overlap nor adjoin. Never holds a surrogate.
struct ScalarRanges: Hashable, Sendable {
  private(set) var ranges: [ClosedRange<UInt32>] = []

  static let all = ScalarRanges([0...0x10_FFFF])
  static let digit = ScalarRanges("0"..."9")
  static let word = ScalarRanges("a"..."z").union(ScalarRanges("A"..."Z")).union(digit).union(ScalarRanges("_"..."_"))
  static let whitespace = ScalarRanges([0x09...0x0D, 0x20...0x20])

  init(_ ranges: [ClosedRange<UInt32>] = []) {
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      // Around the surrogates.
      if range.lowerBound < 0xD800 { append(range.lowerBound...min(range.upperBound, 0xD7FF)) }
      if range.upperBound > 0xDFFF { append(max(range.lowerBound, 0xE000)...range.upperBound) }
    }
  }

  init(_ range: ClosedRange<Unicode.Scalar>) { self.init([range.lowerBound.value...range.upperBound.value]) }
  init(_ scalar: Unicode.Scalar) { self.init(scalar...scalar) }

  private mutating func append(_ range: ClosedRange<UInt32>) {
    if let last = ranges.last, range.lowerBound <= last.upperBound + 1 {
      ranges[ranges.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
    } else {
      ranges.append(range)
    }
  }

  var isEmpty: Bool { ranges.isEmpty }
  func union(_ other: Self) -> Self { Self(ranges + other.ranges) }
  func contains(_ scalar: Unicode.Scalar) -> Bool { ranges.contains { $0.contains(scalar.value) } }

  var inverted: Self {
    var result: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { result.append(next...range.lowerBound - 1) }
      next = range.upperBound + 1
    }
    if next <= 0x10_FFFF { result.append(next...0x10_FFFF) }
    return Self(result)
  }

  func subtracting(_ other: Self) -> Self { inverted.union(other).inverted }
  func intersection(_ other: Self) -> Self { inverted.union(other.inverted).inverted }

  /// The UTF-8 of all scalars: each element gives the range of every byte.
  var utf8Sequences: [[ClosedRange<UInt8>]] {
    var result: [[ClosedRange<UInt8>]] = []
    for range in ranges { Self.split(range, into: &result) }
    return result
  }

  private static func split(_ range: ClosedRange<UInt32>, into result: inout [[ClosedRange<UInt8>]]) {
    var (low, high) = (range.lowerBound, range.upperBound)
    for last in [0x7F, 0x7FF, 0xFFFF] as [UInt32] where low <= last && high > last {
      split(low...last, into: &result)
      low = last + 1
    }
    let (first, end) = (Array(utf8(low)), Array(utf8(high)))
    for position in 1..<max(1, first.count) {
      let mask: UInt32 = (1 << (6 * UInt32(position))) - 1
      guard low & ~mask != high & ~mask else { continue }
      if low & mask != 0 {
        split(low...(low | mask), into: &result)
        return split((low | mask) + 1...high, into: &result)
      }
      if high & mask != mask {
        split(low...(high & ~mask) - 1, into: &result)
        return split(high & ~mask...high, into: &result)
      }
    }
    result.append(zip(first, end).map { $0...$1 })
  }

  private static func utf8(_ scalar: UInt32) -> Unicode.UTF8.EncodedScalar {
    Unicode.UTF8.encode(Unicode.Scalar(scalar)!)!
  }
}
