/// Sets of scalars laid out for constant-time membership tests on UTF-8, owned by one `RegexProgram`.
final class ScalarTable: @unchecked Sendable {
  /// What the first byte says about a scalar's membership.
  enum Verdict {
    static let outside: UInt8 = 0
    // 1...4: inside, and this many bytes long.
    static let undecided: UInt8 = 5
  }

  private static let blockCount = Int(ScalarSet.maximum >> 8) + 1

  /// For set s: 256 verdicts from `s * 256`, and `blockCount` block numbers from `s * blockCount`.
  let verdicts: UnsafeMutablePointer<UInt8>
  let blockNumbers: UnsafeMutablePointer<UInt16>
  /// Four words a block: one bit for each of 256 consecutive scalars.
  let blocks: UnsafeMutablePointer<UInt64>

  init(_ sets: [ScalarSet]) {
    verdicts = .allocate(capacity: sets.count * 256)
    blockNumbers = .allocate(capacity: sets.count * Self.blockCount)
    // Blocks that no member, or no other than members, falls into are common: they are the first two.
    var words: [UInt64] = [0, 0, 0, 0, ~0, ~0, ~0, ~0]
    var known: [[UInt64]: UInt16] = [[0, 0, 0, 0]: 0, [~0, ~0, ~0, ~0]: 1]
    for (s, set) in sets.enumerated() {
      for byte in 0..<256 { verdicts[s * 256 + byte] = Self.verdict(UInt8(byte), set) }
      let numbers = blockNumbers + s * Self.blockCount
      numbers.initialize(repeating: 0, count: Self.blockCount)
      var partial: [UInt32: [UInt64]] = [:]
      for range in set.ranges {
        let (first, last) = (range.lowerBound >> 8, range.upperBound >> 8)
        for block in first...last {
          let bounds = block << 8...block << 8 | 255
          if range.lowerBound <= bounds.lowerBound, range.upperBound >= bounds.upperBound { numbers[Int(block)] = 1; continue }
          for scalar in range.clamped(to: bounds) {
            partial[block, default: [0, 0, 0, 0]][Int(scalar & 255) >> 6] |= 1 << UInt64(scalar & 63)
          }
        }
      }
      for (block, bits) in partial {
        if known[bits] == nil {
          known[bits] = UInt16(words.count / 4)
          words += bits
        }
        numbers[Int(block)] = known[bits]!
      }
    }
    blocks = .allocate(capacity: words.count)
    blocks.initialize(from: words, count: words.count)
  }

  deinit {
    verdicts.deallocate()
    blockNumbers.deallocate()
    blocks.deallocate()
  }

  private static func verdict(_ byte: UInt8, _ set: ScalarSet) -> UInt8 {
    let range: ClosedRange<UInt32>
    switch byte {
    case 0..<0x80: return set.contains(UInt32(byte)) ? 1 : Verdict.outside
    case 0xC2..<0xE0: range = UInt32(byte & 0x1F) << 6...UInt32(byte & 0x1F) << 6 | 0x3F
    case 0xE0: range = 0x800...0xFFF
    case 0xE1..<0xF0: range = UInt32(byte & 0x0F) << 12...UInt32(byte & 0x0F) << 12 | 0xFFF
    case 0xF0: range = 0x1_0000...0x3_FFFF
    case 0xF1...0xF3: range = UInt32(byte & 0x07) << 18...UInt32(byte & 0x07) << 18 | 0x3_FFFF
    case 0xF4: range = 0x10_0000...ScalarSet.maximum
    default: return Verdict.outside
    }
    guard let first = set.ranges.first(where: { $0.upperBound >= range.lowerBound }), first.overlaps(range) else {
      return Verdict.outside
    }
    let isWhole = first.lowerBound <= range.lowerBound && first.upperBound >= range.upperBound
    return isWhole ? UInt8(UTF8Scalar.length(lead: byte)) : Verdict.undecided
  }

  /// The length of the scalar at `index` if it belongs to the set, else 0.
  @inline(__always)
  func length(ofMember text: UnsafePointer<UInt8>, _ index: Int, set: Int) -> Int {
    let verdict = verdicts[set &* 256 &+ Int(text[index])]
    if verdict < Verdict.undecided { return Int(verdict) }
    let (scalar, length) = UTF8Scalar.decode(text, index)
    let block = Int(blockNumbers[set &* Self.blockCount &+ Int(scalar >> 8)])
    return blocks[block &* 4 &+ Int(scalar >> 6 & 3)] >> UInt64(scalar & 63) & 1 != 0 ? length : 0
  }
}
