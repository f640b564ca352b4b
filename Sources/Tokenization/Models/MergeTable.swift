/// Which pairs of tokens merge, how early, and into what.
final class MergeTable: @unchecked Sendable {
  static let noRank = UInt32.max

  private struct Slot {
    var pair = UInt64.max
    var rank = MergeTable.noRank
  }

  private let slots: UnsafeMutablePointer<Slot>
  private let mask: Int
  /// The token that each merge makes.
  let results: [Int32]

  /// - Parameter merges: left, right and resulting token, the earliest first. A pair that comes again counts where it comes last.
  init(_ merges: [(left: Int32, right: Int32, result: Int32)]) {
    var size = 16
    while size < merges.count * 2 { size *= 2 }
    mask = size - 1
    slots = .allocate(capacity: size)
    slots.initialize(repeating: Slot(), count: size)
    results = merges.map(\.result)
    for (rank, merge) in merges.enumerated() {
      let index = find(merge.left, merge.right)
      slots[index] = Slot(pair: Self.pair(merge.left, merge.right), rank: UInt32(rank))
    }
  }

  deinit { slots.deallocate() }

  /// The rank of the pair, lower merging first; `noRank` when it does not merge.
  @inline(__always)
  func rank(_ left: Int32, _ right: Int32) -> UInt32 { slots[find(left, right)].rank }

  @inline(__always)
  private static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  @inline(__always)
  private func find(_ left: Int32, _ right: Int32) -> Int {
    let pair = Self.pair(left, right)
    var index = Int(truncatingIfNeeded: ByteHash.mix(pair)) & mask
    while slots[index].pair != pair, slots[index].pair != .max { index = (index &+ 1) & mask }
    return index
  }
}
