/// The pages of a KV cache and who holds them: nobody, a running request, or the radix tree of computed prefixes.
///
/// A request that is admitted locks the longest prefix in the tree. Whenever a chunk of its tokens is computed, the tree
/// gets its whole pages, and all it has of them when it leaves. Pages that hold what the tree has already are freed.
struct PrefixCache: Sendable {
  let isEnabled: Bool
  private let deferralThreshold: Int
  private let pageSize: Int
  private var allocator: PageAllocator
  private var tree: RadixTree
  private var pending = PendingPrefixes()
  private(set) var evictedPages = 0

  init(_ configuration: SchedulerConfiguration) {
    isEnabled = !configuration.disableRadixCache
    (pageSize, deferralThreshold) = (configuration.pageSize, configuration.deferralThreshold)
    allocator = PageAllocator(pageCount: configuration.totalPages)
    tree = RadixTree(pageSize: pageSize)
  }

  /// Pages that no request holds.
  var availablePages: Int { allocator.freeCount + tree.evictablePages }
  /// How many of them hold a prefix that may still be of use.
  var evictablePages: Int { tree.evictablePages }

  /// That many pages, or nil when fewer are available. Takes free ones first, then evicts.
  mutating func allocate(_ count: Int) -> [Int]? {
    guard count <= availablePages else { return nil }
    if count > allocator.freeCount {
      let evicted = tree.evict(count - allocator.freeCount)
      evictedPages += evicted.count
      allocator.free(evicted)
    }
    return allocator.allocate(count)
  }

  // MARK: Before a request runs

  /// How much of a waiting request is in the tree, at least one token less than it has.
  func match(_ request: ScheduledRequest) -> RadixTree.Match {
    tree.match(request.keys, limit: isEnabled ? reusableCount(request) : 0, in: request.namespace)
  }

  /// A prefix, by its number, that a waiting request would compute and a running one is computing already; nil: none of
  /// which that one computes as many tokens as are worth waiting for.
  func awaitedPrefix(_ request: ScheduledRequest, _ match: RadixTree.Match) -> UInt64? {
    guard isEnabled else { return nil }
    let prefixes = request.prefixes.numbers.prefix(reusableCount(request) / pageSize)
    guard match.pageCount < prefixes.count, let start = pending.start(prefixes[match.pageCount]) else { return nil }
    let end = max(match.pageCount + 1, start + (deferralThreshold + pageSize - 1) / pageSize)
    guard end <= prefixes.count, pending.start(prefixes[end - 1]) != nil else { return nil }
    return prefixes[end - 1]
  }

  func isComputing(_ prefix: UInt64) -> Bool { pending.start(prefix) != nil }

  /// Leading tokens that need not be run: not the last, whose logits are sampled, nor any that leads to a
  /// log-probability, nor of which experts or hidden states are wanted, that were not reported yet.
  private func reusableCount(_ request: ScheduledRequest) -> Int {
    var count = request.tokens.count - 1
    if request.nextPromptLogProb < request.promptCount { count = min(count, request.nextPromptLogProb - 1) }
    if let start = request.reportStart {
      let isCurrent = request.generation == tree.generation
      count = min(count, max(start, isCurrent ? request.reportedCount : 0))
    }
    return count
  }

  // MARK: While it runs

  /// Gives a request the pages of its match, locked, and announces those that it is going to compute.
  mutating func admit(_ request: inout ScheduledRequest, _ match: RadixTree.Match) {
    request.generation = tree.generation
    guard isEnabled else { return }
    let node = tree.lock(match, in: request.namespace)
    request.node = node
    request.pages = tree.pages(through: node)
    request.shared = request.pages.count
    request.computed = request.shared * pageSize
    request.announced = request.shared..<request.prefixes.numbers.count
    pending.add(request.prefixes.numbers[request.announced], from: request.shared)
  }

  /// Puts the whole pages that are computed into the tree while the request runs on, as far as they were announced.
  mutating func share(_ request: inout ScheduledRequest) {
    guard !request.announced.isEmpty else { return }
    let end = min(request.computed / pageSize, request.announced.upperBound)
    guard end > request.announced.lowerBound else { return }
    store(&request, upTo: end)
    pending.remove(request.prefixes.numbers[request.announced.lowerBound..<end])
    request.announced = end..<request.announced.upperBound
  }

  /// Takes back the pages beyond the computed positions: those of drafts that were wrong.
  mutating func trim(_ request: inout ScheduledRequest) {
    let needed = (request.computed + pageSize - 1) / pageSize
    guard needed < request.pages.count else { return }
    allocator.free(request.pages[needed...])
    request.pages.removeSubrange(needed...)
  }

  /// Takes all pages back: the tree gets the computed ones.
  mutating func release(_ request: inout ScheduledRequest) {
    if request.node != nil {
      pending.remove(request.prefixes.numbers[request.announced])
      request.announced = 0..<0
      if request.generation == tree.generation { store(&request, upTo: request.computed / pageSize) }
      allocator.free(tree.unlock(request.node!))
    }
    allocator.free(request.pages[request.shared...])
    (request.pages, request.shared, request.node, request.computed) = ([], 0, nil, 0)
  }

  private mutating func store(_ request: inout ScheduledRequest, upTo end: Int) {
    guard let node = request.node, end > request.shared else { return }
    let range = request.shared..<end
    let (last, held) = tree.extend(node, tokens: request.keys, pages: request.pages, range)
    let duplicates = range.filter { held[$0 - range.lowerBound] != request.pages[$0] }.map { request.pages[$0] }
    request.pages.replaceSubrange(range, with: held)
    (request.node, request.shared) = (last, end)
    allocator.free(duplicates)
  }

  // MARK: Forgetting

  /// Nothing computed so far is found from now on: pages that no running request reads are free, and the others will be
  /// when it leaves.
  mutating func forget(_ running: inout [ScheduledRequest]) {
    allocator.free(tree.forget())
    pending.removeAll()
    for i in running.indices { running[i].announced = 0..<0 }
  }

  /// - Throws: `PageAccountingError` when a page leaked or has two owners, or the tree is none.
  func checkIntegrity(_ running: [ScheduledRequest]) throws(PageAccountingError) {
    try tree.checkIntegrity(readers: running.compactMap(\.node))
    for request in running {
      guard Array(request.pages[..<request.shared]) == (request.node.map { tree.pages(through: $0) } ?? []) else {
        throw PageAccountingError(description: "The request \(request.id) reads other pages than those it has locked.")
      }
    }
    guard pending.isEmpty == running.allSatisfy(\.announced.isEmpty) else {
      throw PageAccountingError(description: "A prefix is awaited that no request computes.")
    }
    try allocator.checkConservation(held: tree.allPages + running.flatMap { $0.pages[$0.shared...] })
  }
}
