/// The tokens of words seen before. One belongs to one thread; when it is full it starts anew.
struct WordCache {
  static let longestWord = 128
  private static let slotCount = 1 << 16
  private static let mostWords = slotCount / 2
  private static let mostBytes = 8 << 20

  private struct Slot {
    var tag: UInt32 = 0
    var start: UInt32 = 0
    var tokens: UInt32 = 0
    var tokenCount: UInt16 = 0
    /// 0 where the slot is free: no word is empty.
    var count: UInt16 = 0
  }

  private var slots: [Slot] = []
  private var bytes: [UInt8] = []
  private var tokens: [Int32] = []
  private var words = 0

  /// Appends the word's tokens, if they are known.
  @inline(__always)
  func appendTokens(of word: UnsafePointer<UInt8>, _ count: Int, hash: UInt64, to ids: inout [Int]) -> Bool {
    if slots.isEmpty { return false }
    return slots.withUnsafeBufferPointer { slots in
      var index = Int(truncatingIfNeeded: hash) & (Self.slotCount &- 1)
      let tag = UInt32(truncatingIfNeeded: hash >> 32)
      while slots[index].count != 0 {
        let slot = slots[index]
        if slot.tag == tag, Int(slot.count) == count,
          bytes.withUnsafeBufferPointer({ ($0.baseAddress! + Int(slot.start)).isEqual(to: word, count) })
        {
          tokens.withUnsafeBufferPointer { tokens in
            for i in Int(slot.tokens)..<Int(slot.tokens) &+ Int(slot.tokenCount) { ids.append(Int(tokens[i])) }
          }
          return true
        }
        index = (index &+ 1) & (Self.slotCount &- 1)
      }
      return false
    }
  }

  mutating func insert(_ word: UnsafePointer<UInt8>, _ count: Int, hash: UInt64, tokens new: ArraySlice<Int>) {
    if slots.isEmpty || words == Self.mostWords || bytes.count + count > Self.mostBytes { clear() }
    var index = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
    while slots[index].count != 0 { index = (index + 1) & (Self.slotCount - 1) }
    slots[index] = Slot(
      tag: UInt32(truncatingIfNeeded: hash >> 32), start: UInt32(bytes.count), tokens: UInt32(tokens.count),
      tokenCount: UInt16(new.count), count: UInt16(count))
    bytes.append(contentsOf: UnsafeBufferPointer(start: word, count: count))
    for token in new { tokens.append(Int32(token)) }
    words += 1
  }

  private mutating func clear() {
    slots = Array(repeating: Slot(), count: Self.slotCount)
    bytes.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
    words = 0
  }
}
