/// The pages of a KV cache and who holds them: nobody, a running request, or the radix tree of computed prefixes; and the
/// places of the states of running requests and of prefixes, where the model keeps any.
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
  /// nil: the model keeps no states.
  private var states: StatePlaces?
  private(set) var evictedPages = 0

  init(_ configuration: SchedulerConfiguration) {
    isEnabled = !configuration.disableRadixCache && configuration.stateSlots != configuration.maxRunningRequests
    (pageSize, deferralThreshold) = (configuration.pageSize, configuration.deferralThreshold)
    allocator = PageAllocator(pageCount: configuration.totalPages)
    states = StatePlaces(configuration)
    tree = RadixTree(pageSize: pageSize, needsStates: states != nil)
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
      takeBackStates()
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
    if states != nil { return awaitedStates(prefixes, match) }
    guard match.pageCount < prefixes.count, let start = pending.start(prefixes[match.pageCount]) else { return nil }
    let end = max(match.pageCount + 1, start + (deferralThreshold + pageSize - 1) / pageSize)
    guard end <= prefixes.count, pending.start(prefixes[end - 1]) != nil else { return nil }
    return prefixes[end - 1]
  }

  /// The same where prefixes are announced with states at their ends, and only those.
  private func awaitedStates(_ prefixes: ArraySlice<UInt64>, _ match: RadixTree.Match) -> UInt64? {
    let place = prefixes.indices.last { pending.start(prefixes[$0]) != nil }
    guard let place, (place + 1 - match.pageCount) * pageSize >= deferralThreshold else { return nil }
    return prefixes[place]
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
    request.stateSlot = states?.running.take()
    guard isEnabled else { return }
    let node = tree.lock(match, in: request.namespace)
    request.node = node
    request.pages = tree.pages(through: node)
    request.shared = request.pages.count
    request.computed = request.shared * pageSize
    request.sharedStates = tree.states(at: node)
    request.announced = announced(request)
    pending.add(request.prefixes.numbers[request.announced], from: request.shared)
  }

  /// The pages, by the prefixes that end with them, that a request which has its match is going to compute for others.
  private func announced(_ request: ScheduledRequest) -> Range<Int> {
    guard states != nil else { return request.shared..<request.prefixes.numbers.count }
    let end = (request.promptCount - 1) / pageSize
    return end > request.shared ? end - 1..<end : 0..<0
  }

  /// Whether the states of a request are to be copied when it has run its next tokens, of which `count` becomes fewer for it.
  mutating func planCopy(_ request: inout ScheduledRequest, count: inout Int) -> Bool {
    let end = request.announced.upperBound * pageSize
    guard states != nil, end > request.scheduled, end <= request.scheduled + count else { return false }
    if request.stateCopy == nil { request.stateCopy = takeStatesOfPrefix() }
    guard request.stateCopy != nil else { return false }
    count = end - request.scheduled
    return true
  }

  /// A place for the states of a prefix; those of another one may go for it. nil: all prefixes that have some are in use.
  private mutating func takeStatesOfPrefix() -> Int? {
    if let slot = states?.prefixes.take() { return slot }
    tree.dropOldestStates()
    takeBackStates()
    return states?.prefixes.take()
  }

  /// Gives back the places of states of prefixes that are no longer in the tree.
  private mutating func takeBackStates() { states?.prefixes.giveBack(tree.takeDroppedStates()) }

  /// Puts the whole pages that are computed into the tree while the request runs on, as far as they were announced.
  mutating func share(_ request: inout ScheduledRequest) {
    guard !request.announced.isEmpty else { return dropCopy(&request) }
    let end = min(request.computed / pageSize, request.announced.upperBound)
    guard end > request.announced.lowerBound else { return }
    store(&request, upTo: end)
    pending.remove(request.prefixes.numbers[request.announced.lowerBound..<end])
    request.announced = end..<request.announced.upperBound
    // The states are those at the end of the prefix: a batch stopped there.
    if let slot = request.stateCopy, request.node.map({ tree.keep(states: slot, at: $0) }) == true { request.stateCopy = nil }
    dropCopy(&request)
  }

  private mutating func dropCopy(_ request: inout ScheduledRequest) {
    if let slot = request.stateCopy { states?.prefixes.giveBack([slot]) }
    request.stateCopy = nil
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
      // What ends without states is of no use to others.
      if request.generation == tree.generation, states == nil { store(&request, upTo: request.computed / pageSize) }
      allocator.free(tree.unlock(request.node!))
      takeBackStates()
    }
    allocator.free(request.pages[request.shared...])
    dropCopy(&request)
    states?.running.giveBack(request.stateSlot.map { [$0] } ?? [])
    (request.stateSlot, request.sharedStates) = (nil, nil)
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
    takeBackStates()
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
    try states?.running.checkConservation(held: running.compactMap(\.stateSlot))
    try states?.prefixes.checkConservation(held: tree.allStates + running.compactMap(\.stateCopy))
    try allocator.checkConservation(held: tree.allPages + running.flatMap { $0.pages[$0.shared...] })
  }
}
