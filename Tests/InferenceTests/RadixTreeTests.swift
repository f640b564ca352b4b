import Inference
import TestSupport
import Testing

/// A cache of prefixes as a dictionary: one entry a page, by all tokens up to its end.
private struct NaiveCache {
  struct Entry {
    var page: Int
    var locks = 0
    var lastUsed = 0
  }

  let pageSize: Int
  /// By namespace and tokens.
  var entries: [[Int]: Entry] = [:]
  /// Entries that were forgotten while locked, by page.
  var forgotten: [Int: Int] = [:]
  private var clock = 0

  init(pageSize: Int) { self.pageSize = pageSize }

  func key(_ space: Int, _ tokens: [Int], _ pages: Int) -> [Int] { [space] + tokens[..<(pages * pageSize)] }

  func match(_ space: Int, _ tokens: [Int], limit: Int) -> [Entry] {
    (1..<limit / pageSize + 1).lazy.map { entries[key(space, tokens, $0)] }.prefix { $0 != nil }.map { $0! }
  }

  mutating func touch(_ space: Int, _ tokens: [Int], pages: Int, locks: Int) {
    clock += 1
    for count in 1..<pages + 1 {
      entries[key(space, tokens, count)]!.locks += locks
      entries[key(space, tokens, count)]!.lastUsed = clock
    }
  }

  var evictable: Int { entries.values.count { $0.locks == 0 } }

  mutating func evict(_ count: Int) -> [Int] {
    (0..<min(count, evictable)).map { _ in
      let leaves = entries.filter { key, entry in
        entry.locks == 0 && !entries.keys.contains { $0.count == key.count + pageSize && $0.starts(with: key) }
      }
      return entries.removeValue(forKey: leaves.min { $0.value.lastUsed < $1.value.lastUsed }!.key)!.page
    }
  }

  mutating func forget() -> [Int] {
    for entry in entries.values where entry.locks > 0 { forgotten[entry.page] = entry.locks }
    defer { entries = [:] }
    return entries.values.filter { $0.locks == 0 }.map(\.page)
  }

  mutating func unlockForgotten(_ pages: [Int]) -> [Int] {
    pages.filter { page in
      forgotten[page]! -= 1
      return forgotten[page] == 0
    }
  }
}

private struct Reader {
  var space: Int
  var tokens: [Int]
  var node: Int
  var pages: [Int]
  var generation: Int
}

@Suite struct RadixTreeTests {
  @Test(arguments: 0..<60 as Range<UInt64>) func equalsADictionaryOfPrefixes(_ seed: UInt64) throws {
    var random = SeededGenerator(state: seed)
    let size = Int.random(in: 1...4, using: &random)
    var tree = RadixTree(pageSize: size)
    var naive = NaiveCache(pageSize: size)
    var readers: [Reader] = []
    var nextPage = 0
    var evictions = 0
    let spaces = [CacheNamespace(), CacheNamespace(extraKey: "a"), CacheNamespace(cacheSalt: "a")]
    func randomTokens() -> [Int] {
      (0..<Int.random(in: 0...8 * size, using: &random)).map { _ in Int.random(in: 0...5, using: &random) == 0 ? 1 : 0 }
    }

    for _ in 0..<400 {
      switch Int.random(in: 0..<20, using: &random) {
      case 0..<6:
        let (space, tokens) = (Int.random(in: 0..<3, using: &random), randomTokens())
        let limit = Int.random(in: 0...tokens.count, using: &random)
        let match = tree.match(tokens, limit: limit, in: spaces[space])
        let wanted = naive.match(space, tokens, limit: limit)
        #expect(match.pageCount == wanted.count && match.unlockedPages == wanted.count { $0.locks == 0 })
        if Bool.random(using: &random) { continue }
        let node = tree.lock(match, in: spaces[space])
        #expect(tree.pages(through: node) == wanted.map(\.page))
        naive.touch(space, tokens, pages: wanted.count, locks: 1)
        readers.append(
          Reader(space: space, tokens: tokens, node: node, pages: wanted.map(\.page), generation: tree.generation))
      case 6..<11:
        guard let i = readers.indices.randomElement(using: &random), readers[i].generation == tree.generation else { continue }
        var reader = readers[i]
        if Bool.random(using: &random) { reader.tokens += randomTokens() }
        let start = reader.pages.count
        guard start < reader.tokens.count / size else { continue }
        let end = Int.random(in: start + 1...reader.tokens.count / size, using: &random)
        let own = reader.pages + (nextPage..<nextPage + end - start)
        nextPage += end - start
        for count in start + 1...end {
          let key = naive.key(reader.space, reader.tokens, count)
          if naive.entries[key] == nil { naive.entries[key] = NaiveCache.Entry(page: own[count - 1]) }
          naive.entries[key]!.locks += 1
          reader.pages.append(naive.entries[key]!.page)
        }
        let held = tree.extend(reader.node, tokens: reader.tokens, pages: own, start..<end)
        #expect(held.pages == Array(reader.pages[start...]) && tree.pages(through: held.node) == reader.pages)
        naive.touch(reader.space, reader.tokens, pages: end, locks: 0)
        reader.node = held.node
        readers[i] = reader
      case 11..<16:
        guard let i = readers.indices.randomElement(using: &random) else { continue }
        let reader = readers.remove(at: i)
        let freed = tree.unlock(reader.node)
        if reader.generation == tree.generation {
          naive.touch(reader.space, reader.tokens, pages: reader.pages.count, locks: -1)
          #expect(freed.isEmpty)
        } else {
          #expect(freed.sorted() == naive.unlockForgotten(reader.pages).sorted())
        }
      case 16..<19:
        let count = Int.random(in: 0...4, using: &random)
        let evicted = tree.evict(count)
        #expect(evicted.sorted() == naive.evict(count).sorted())
        evictions += evicted.count
      default:
        if Int.random(in: 0..<4, using: &random) == 0 { #expect(tree.forget().sorted() == naive.forget().sorted()) }
      }
      try tree.checkIntegrity(readers: readers.map(\.node))
      #expect(tree.evictablePages == naive.evictable)
      let forgotten = naive.forgotten.filter { $0.value > 0 }.keys
      #expect(tree.allPages.sorted() == (naive.entries.values.map(\.page) + forgotten).sorted())
    }
    for reader in readers { _ = tree.unlock(reader.node) }
    _ = tree.evict(.max)
    #expect(tree.allPages.isEmpty && tree.evictablePages == 0 && (evictions > 0 || size > 3))
  }

  @Test func wrongLocksAreFound() throws {
    var tree = RadixTree(pageSize: 2)
    let tokens = [1, 2, 3, 4]
    let root = tree.lock(tree.match(tokens, limit: 4, in: CacheNamespace()), in: CacheNamespace())
    let node = tree.extend(root, tokens: tokens, pages: [7, 8], 0..<2).node
    try tree.checkIntegrity(readers: [node])
    #expect(throws: PageAccountingError.self) { try tree.checkIntegrity(readers: []) }
    #expect(throws: PageAccountingError.self) { try tree.checkIntegrity(readers: [node, node]) }
  }
}
