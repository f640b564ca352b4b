/// Applies merges to the symbols of one word: always the pair of lowest rank, the leftmost of equal ones.
///
/// Short words are searched through for each merge; long ones keep their pairs in a heap, so that n symbols take O(n log n).
struct WordMerger {
  private static let longest = 40

  /// The word's symbols; after `merge`, its tokens.
  private(set) var symbols: [Int32] = []
  private var ranks: [UInt32] = []
  private var next: [Int32] = []
  private var previous: [Int32] = []
  private var heap: [UInt64] = []

  mutating func removeAll() { symbols.removeAll(keepingCapacity: true) }

  @inline(__always)
  mutating func append(_ symbol: Int32) { symbols.append(symbol) }

  mutating func merge(_ table: MergeTable) {
    if symbols.count < 2 { return }
    if symbols.count <= Self.longest { mergeShort(table) } else { mergeLong(table) }
  }

  private mutating func mergeShort(_ table: MergeTable) {
    var count = symbols.count
    ranks.removeAll(keepingCapacity: true)
    for i in 0..<(count - 1) { ranks.append(table.rank(symbols[i], symbols[i + 1])) }
    table.results.withUnsafeBufferPointer { results in
      symbols.withUnsafeMutableBufferPointer { symbols in
        ranks.withUnsafeMutableBufferPointer { ranks in
          while count > 1 {
            var (best, at) = (MergeTable.noRank, 0)
            for i in 0..<(count &- 1) where ranks[i] < best { (best, at) = (ranks[i], i) }
            if best == MergeTable.noRank { break }
            symbols[at] = results[Int(best)]
            count &-= 1
            for i in (at &+ 1)..<max(count, at &+ 1) { symbols[i] = symbols[i &+ 1] }
            for i in at..<max(count &- 1, at) { ranks[i] = ranks[i &+ 1] }
            if at > 0 { ranks[at &- 1] = table.rank(symbols[at &- 1], symbols[at]) }
            if at < count &- 1 { ranks[at] = table.rank(symbols[at], symbols[at &+ 1]) }
          }
        }
      }
    }
    symbols.removeLast(symbols.count - count)
  }

  /// The heap's entries are rank and position; one whose pair has changed meanwhile no longer has that rank.
  private mutating func mergeLong(_ table: MergeTable) {
    let count = symbols.count
    precondition(count < Int(Int32.max), "a word of more than 2^31 symbols")
    ranks = (0..<count).map { $0 + 1 < count ? table.rank(symbols[$0], symbols[$0 + 1]) : MergeTable.noRank }
    next = (0..<count).map { Int32($0 + 1) }
    previous = (0..<count).map { Int32($0 - 1) }
    heap.removeAll(keepingCapacity: true)
    for i in 0..<count where ranks[i] != MergeTable.noRank { heap.append(UInt64(ranks[i]) << 32 | UInt64(i)) }
    // A sorted array is a heap.
    heap.sort()
    while let entry = popLeast() {
      let at = Int(entry & 0xFFFF_FFFF)
      let rank = UInt32(entry >> 32)
      guard ranks[at] == rank else { continue }
      let right = Int(next[at])
      symbols[at] = table.results[Int(rank)]
      symbols[right] = -1
      ranks[right] = MergeTable.noRank
      let after = Int(next[right])
      next[at] = Int32(after)
      ranks[at] = MergeTable.noRank
      if after < count {
        previous[after] = Int32(at)
        setRank(at, table.rank(symbols[at], symbols[after]))
      }
      let before = Int(previous[at])
      if before >= 0 { setRank(before, table.rank(symbols[before], symbols[at])) }
    }
    symbols.removeAll { $0 < 0 }
  }

  private mutating func setRank(_ position: Int, _ rank: UInt32) {
    ranks[position] = rank
    guard rank != MergeTable.noRank else { return }
    let entry = UInt64(rank) << 32 | UInt64(position)
    heap.append(entry)
    heap.withUnsafeMutableBufferPointer { heap in
      var index = heap.count - 1
      while index > 0 {
        let parent = (index - 1) / 4
        if heap[parent] <= entry { break }
        heap[index] = heap[parent]
        index = parent
      }
      heap[index] = entry
    }
  }

  /// Removes the least entry of the heap, whose nodes have four children each.
  private mutating func popLeast() -> UInt64? {
    guard let last = heap.popLast() else { return nil }
    return heap.withUnsafeMutableBufferPointer { heap in
      if heap.isEmpty { return last }
      let least = heap[0]
      var index = 0
      while true {
        let first = index * 4 + 1
        if first >= heap.count { break }
        var child = first
        for other in (first + 1)..<max(min(first + 4, heap.count), first + 1) where heap[other] < heap[child] { child = other }
        if heap[child] >= last { break }
        heap[index] = heap[child]
        index = child
      }
      heap[index] = last
      return least
    }
  }
}
