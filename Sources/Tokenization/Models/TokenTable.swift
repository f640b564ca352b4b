/// Byte strings and their ids, looked up by content: an open-addressing table over one arena.
///
/// Swift's `String` will not do as a key, since it takes canonically equivalent texts for equal.
struct TokenTable: Sendable {
  private struct Slot {
    var start: UInt32 = 0
    var count: UInt32 = 0
    var id: Int32 = -1
    var tag: UInt32 = 0
  }

  private var slots: [Slot]
  private var arena: [UInt8] = []
  private(set) var count = 0

  init(minimumCapacity: Int = 0) {
    var size = 64
    while size < minimumCapacity * 2 { size *= 2 }
    slots = Array(repeating: Slot(), count: size)
  }

  /// - Returns: the id that these bytes had before.
  @discardableResult
  mutating func insert(_ bytes: UnsafeBufferPointer<UInt8>, id: Int) -> Int? {
    if (count + 1) * 2 > slots.count { grow() }
    return bytes.withBase { base in
      let hash = ByteHash.hash(base, bytes.count)
      let index = find(base, bytes.count, hash)
      if slots[index].id >= 0 {
        defer { slots[index].id = Int32(id) }
        return Int(slots[index].id)
      }
      slots[index] = Slot(
        start: UInt32(arena.count), count: UInt32(bytes.count), id: Int32(id), tag: UInt32(truncatingIfNeeded: hash >> 32))
      arena.append(contentsOf: bytes)
      count += 1
      return nil
    }
  }

  @inline(__always)
  func id(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int? {
    let id = slots[find(bytes, count, ByteHash.hash(bytes, count))].id
    return id >= 0 ? Int(id) : nil
  }

  func id(_ bytes: [UInt8]) -> Int? { bytes.withUnsafeBufferPointer { $0.withBase { id($0, bytes.count) } } }
  func id(_ text: String) -> Int? { id(Array(text.utf8)) }

  /// The slot that holds these bytes, or the free one where they belong.
  @inline(__always)
  private func find(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64) -> Int {
    slots.withUnsafeBufferPointer { slots in
      arena.withUnsafeBufferPointer { arena in
        var index = Int(truncatingIfNeeded: hash) & (slots.count &- 1)
        let tag = UInt32(truncatingIfNeeded: hash >> 32)
        while slots[index].id >= 0 {
          if slots[index].tag == tag, Int(slots[index].count) == count,
            count == 0 || arena.baseAddress!.advanced(by: Int(slots[index].start)).isEqual(to: bytes, count)
          {
            break
          }
          index = (index &+ 1) & (slots.count &- 1)
        }
        return index
      }
    }
  }

  private mutating func grow() {
    let old = slots
    slots = Array(repeating: Slot(), count: old.count * 2)
    arena.withUnsafeBufferPointer { arena in
      for slot in old where slot.id >= 0 {
        let hash = arena.isEmpty ? ByteHash.hash([0], 0) : ByteHash.hash(arena.baseAddress! + Int(slot.start), Int(slot.count))
        var index = Int(truncatingIfNeeded: hash) & (slots.count - 1)
        while slots[index].id >= 0 { index = (index + 1) & (slots.count - 1) }
        slots[index] = slot
      }
    }
  }
}

extension UnsafePointer<UInt8> {
  @inline(__always)
  func isEqual(to other: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    let (a, b) = (UnsafeRawPointer(self), UnsafeRawPointer(other))
    var index = 0
    while index &+ 8 <= count {
      if a.loadUnaligned(fromByteOffset: index, as: UInt64.self) != b.loadUnaligned(fromByteOffset: index, as: UInt64.self) {
        return false
      }
      index &+= 8
    }
    while index < count {
      if self[index] != other[index] { return false }
      index &+= 1
    }
    return true
  }
}

extension UnsafeBufferPointer<UInt8> {
  /// Calls with the first byte's address; an empty buffer has one too.
  func withBase<R>(_ body: (UnsafePointer<UInt8>) -> R) -> R {
    if let baseAddress { return body(baseAddress) }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { body($0.baseAddress!) }
  }
}
