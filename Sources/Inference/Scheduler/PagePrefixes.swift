/// Names the page-aligned prefixes of a sequence by one number each.
///
/// A chain, so that prefixes of equal number are equal up to collisions of 64 bits. Not Swift's `Hasher`, which is seeded
/// anew in every process: the schedulers of all ranks must agree even on collisions.
struct PagePrefixes: Sendable, Equatable {
  private(set) var numbers: [UInt64] = []
  private var state: UInt64
  private let pageSize: Int

  init(pageSize: Int, namespace: CacheNamespace) {
    (self.pageSize, state) = (pageSize, 0)
    for part in [namespace.extraKey, namespace.cacheSalt] {
      mix(part.map { UInt64($0.utf8.count) } ?? .max)
      for byte in (part ?? "").utf8 { mix(UInt64(byte)) }
    }
    if let adapter = namespace.adapter { mix(UInt64(adapter)) }
  }

  /// Goes on with the whole pages of `tokens` that have no number yet.
  mutating func extend(over tokens: [Int]) {
    while (numbers.count + 1) * pageSize <= tokens.count {
      for token in tokens[numbers.count * pageSize..<(numbers.count + 1) * pageSize] { mix(UInt64(truncatingIfNeeded: token)) }
      numbers.append(state)
    }
  }

  /// The finaliser of MurmurHash3 over the sum.
  private mutating func mix(_ value: UInt64) {
    var z = state &* 0x9E37_79B9_7F4A_7C15 &+ value &+ 1
    z = (z ^ (z >> 33)) &* 0xFF51_AFD7_ED55_8CCD
    z = (z ^ (z >> 33)) &* 0xC4CE_B9FE_1A85_EC53
    state = z ^ (z >> 33)
  }
}

/// Which prefixes running requests are computing now.
struct PendingPrefixes: Sendable {
  private struct Entry {
    var requests = 0
    var start: Int
  }

  private var entries: [UInt64: Entry] = [:]

  var isEmpty: Bool { entries.isEmpty }

  /// From which page on a request computes this prefix; nil: none does.
  func start(_ prefix: UInt64) -> Int? { entries[prefix]?.start }

  mutating func add(_ prefixes: ArraySlice<UInt64>, from start: Int) {
    for prefix in prefixes { entries[prefix, default: Entry(start: start)].requests += 1 }
  }

  mutating func remove(_ prefixes: ArraySlice<UInt64>) {
    for prefix in prefixes {
      entries[prefix]!.requests -= 1
      if entries[prefix]!.requests == 0 { entries[prefix] = nil }
    }
  }

  mutating func removeAll() { entries = [:] }
}
