/// Decides what an engine runs next: continuous batching with chunked prefill over a paged KV cache.
///
/// A pure state machine. Messages change its state (`submit`, `abort`, `pause`, `resume`), `plan` says what to run, and
/// `complete` takes what was sampled. It knows no clock, no tensor and no thread, so ranks that see the same messages decide
/// alike, and a recorded run can be replayed.
///
/// First come, first served, or as `SchedulePolicy` and priorities want. Decoding requests always run; what is left of a
/// batch goes to prompts. A request is admitted when the pages not needed by the running ones, by `NewTokenRatio`'s
/// estimate, hold it. When the estimate was too low and pages run out, the requests with the fewest output tokens are
/// retracted: their pages are taken back, their tokens kept, and they wait in their old place to run again (SGLang's
/// policy).
///
/// What was computed stays in a radix tree of prefixes while there is room, and requests that begin alike compute the
/// common part once: one that would compute what a running one is computing right now waits for it, and lets others pass.
///
/// A model may keep states of requests besides their KV, which hold for all tokens so far only. Of each prompt one prefix can
/// be shared then: all whole pages before its last token, at whose end a batch stops and the states are copied.
///
/// With drafts (speculative decoding) a decoding request runs several tokens at once, a chain or a tree, and keeps those that
/// prove right. Drafts take what budget and pages nothing else needs.
///
/// A batch may be planned while another is in flight, so that a device need not wait for its host: what that one samples
/// is named by its place. The device runs batches in order, so pages that a request gives up, also one that turns out to
/// have ended, may be given to the next at once: whoever still writes to them does so first.
public struct Scheduler: Sendable {
  /// `max_new_tokens` beyond this is not reserved for (SGLang's clip).
  private static let reservationClip = 4096
  /// With more waiting requests, the longest prefix match is not looked for (SGLang's limit).
  private static let longestMatchedQueue = 128

  public let configuration: SchedulerConfiguration
  public private(set) var mode = SchedulerMode.running
  private var cache: PrefixCache
  /// In the order of `ScheduledRequest.precedes`.
  private var waiting: [ScheduledRequest] = []
  /// In order of admission.
  private var running: [ScheduledRequest] = []
  private var liveIDs: Set<String> = []
  private var arrivals = 0
  private var newTokenRatio: NewTokenRatio
  /// Batches that were planned and are not complete, the oldest first; at most two.
  private var inFlight: [Flight] = []

  private struct Flight: Sendable {
    var plan: BatchPlan
    /// The arrivals of its items' requests: an id may be used again.
    var arrivals: [Int]
  }
  /// Of all requests that ran: tokens of their prompts, and how many of them came from the cache.
  public private(set) var promptTokens = 0
  public private(set) var cachedTokens = 0
  public private(set) var retractions = 0

  public init(_ configuration: SchedulerConfiguration) throws(InvalidSchedulerConfiguration) {
    try configuration.validate()
    self.configuration = configuration
    cache = PrefixCache(configuration)
    newTokenRatio = NewTokenRatio(conservativeness: configuration.conservativeness)
  }

  public var runningCount: Int { running.count }
  public var waitingCount: Int { waiting.count }
  /// Pages that no request holds, those of cached prefixes included.
  public var freePages: Int { cache.availablePages }
  /// How many of `freePages` hold a cached prefix.
  public var evictablePages: Int { cache.evictablePages }
  public var evictedTokens: Int { cache.evictedPages * configuration.pageSize }
  public var hasWork: Bool { mode == .running && !(running.isEmpty && waiting.isEmpty) }
  /// Whether no request holds pages and none is about to: the cache may be forgotten and weights replaced.
  public var canFlush: Bool { running.isEmpty && (waiting.isEmpty || mode != .running) }

  /// - Throws: `PageAccountingError` when a page leaked or has two owners, or a lock has no reader.
  public func checkIntegrity() throws(PageAccountingError) { try cache.checkIntegrity(running) }
}

// MARK: - Messages

extension Scheduler {
  /// Queues a request.
  /// - Parameter adapter: the number of the adapter that it uses.
  /// - Throws: `InvalidRequest` when it is malformed, its id is live, or it could never run.
  public mutating func submit(_ request: GenerateRequest, adapter: Int? = nil) throws(InvalidRequest) {
    try request.validate(
      vocabularySize: configuration.vocabularySize, contextLength: configuration.contextLength,
      tokenCapacity: configuration.tokenCapacity)
    guard liveIDs.insert(request.id).inserted else {
      throw InvalidRequest("The request id \(request.id) is that of a request still being served; use another.")
    }
    enqueue(ScheduledRequest(request, adapter: adapter, arrival: arrivals, configuration: configuration))
    arrivals += 1
  }

  /// Puts a request in its place among the waiting.
  private mutating func enqueue(_ request: ScheduledRequest) {
    var (low, high) = (0, waiting.count)
    while low < high {
      let middle = (low + high) / 2
      if request.precedes(waiting[middle]) { high = middle } else { low = middle + 1 }
    }
    waiting.insert(request, at: low)
  }

  /// Ends the request with this id, or all when nil. Waiting requests end now; running ones now or, when a batch is in
  /// flight, when it is complete.
  public mutating func abort(_ id: String?, message: String = "Aborted") -> [SchedulerAction] {
    if let id, !liveIDs.contains(id) { return [] }
    var actions: [SchedulerAction] = []
    for request in waiting where id == nil || request.id == id { actions.append(finish(request, .abort(message))) }
    waiting.removeAll { id == nil || $0.id == id }
    for i in running.indices where id == nil || running[i].id == id { running[i].abortMessage = message }
    return actions + settle()
  }

  /// Stops planning until `resume`. Requests that arrive meanwhile wait.
  public mutating func pause(_ pauseMode: PauseMode) -> [SchedulerAction] {
    switch pauseMode {
    case .abort:
      mode = .aborting
      return abort(nil)
    case .retract:
      mode = .pausedRetracted
      return settle()
    case .inPlace:
      mode = .pausedInPlace
      return []
    }
  }

  public mutating func resume() { mode = .running }

  /// No request that is admitted from now on gets KV that was computed before: the weights are about to change. Running
  /// ones keep theirs.
  public mutating func forgetPrefixes() { cache.forget(&running) }

  /// Carries out what had to wait for the batch in flight.
  private mutating func settle() -> [SchedulerAction] {
    guard inFlight.isEmpty else { return [] }
    return settleNow()
  }

  private mutating func settleNow() -> [SchedulerAction] {
    var actions: [SchedulerAction] = []
    for i in running.indices {
      if let message = running[i].abortMessage {
        cache.release(&running[i])
        actions.append(finish(running[i], .abort(message)))
      }
    }
    running.removeAll { $0.abortMessage != nil }
    if mode == .pausedRetracted, inFlight.isEmpty {
      while !running.isEmpty { actions.append(retract(at: running.count - 1)) }
    }
    return actions
  }
}

// MARK: - Steps

extension Scheduler {
  /// The running requests of which one token is to be run, in order of admission: what they are, the page table of what is
  /// computed, and how many drafts one after another could be of use to them.
  package var decoding: [(id: String, tokens: [Int], pages: [Int], usefulDrafts: Int)] {
    running.filter(\.isDecoding).map { ($0.id, $0.tokens, $0.pages, max(0, $0.remainingNewTokens - 1)) }
  }

  /// The next batch. With one in flight, one that can follow it, if there is one: what needs its samples waits.
  /// - Parameter drafts: what the responses of decoding requests, by id, may go on with; only with no batch in flight.
  public mutating func plan(drafts: [String: DraftTree] = [:]) -> SchedulerStep {
    precondition(inFlight.count < 2 && (inFlight.isEmpty || drafts.isEmpty), "a batch is still in flight")
    guard hasWork else { return SchedulerStep() }
    // Who is retracted must be known whole.
    if !inFlight.isEmpty, missingDecodePages > cache.availablePages { return SchedulerStep() }
    if running.isEmpty { newTokenRatio.reset() }

    var step = SchedulerStep(actions: makeRoomForDecoding())
    var items: [BatchPlan.Item] = []
    var budget = configuration.maxBatchTokens
    for i in running.indices where running[i].isDecoding { schedule(i, &budget, &items) }
    if !items.isEmpty { newTokenRatio.decay() }
    for i in running.indices where !running[i].isDecoding { schedule(i, &budget, &items) }
    if step.actions.isEmpty { admit(&budget, &items) }
    if items.isEmpty {
      guard inFlight.isEmpty else { return step }
      // Several prompts hold pages and none can get the next: the weakest gives way.
      step.actions.append(retract(at: weakest()))
      raiseNewTokenRatio()
      for i in running.indices { schedule(i, &budget, &items) }
    }
    if !drafts.isEmpty { add(drafts, budget, &items) }
    let plan = BatchPlan(items: items)
    launch(plan)
    step.plan = plan
    return step
  }

  private mutating func launch(_ plan: BatchPlan) {
    let index = Dictionary(uniqueKeysWithValues: running.indices.map { (running[$0].id, $0) })
    var flight = Flight(plan: plan, arrivals: [])
    for item in plan.items {
      let i = index[item.id]!
      flight.arrivals.append(running[i].arrival)
      running[i].inFlight += item.tokens.count
      running[i].awaitedSamples += item.samples ? 1 : 0
    }
    inFlight.append(flight)
  }

  /// Takes what was sampled for the items of the oldest plan in flight that sample, in their order: of each the next token,
  /// preceded by those of its drafts that were right. What follows the end of a response is dropped, and so is what is of
  /// a request that has ended.
  public mutating func complete(_ sampled: [[SampledToken]]) -> [SchedulerAction] {
    precondition(!inFlight.isEmpty, "no batch is in flight")
    let flight = inFlight.removeFirst()
    let expected = flight.plan.items.count(where: \.samples)
    precondition(sampled.count == expected, "tokens of \(sampled.count) requests for \(expected)")

    let index = Dictionary(uniqueKeysWithValues: running.indices.map { (running[$0].arrival, $0) })
    var samples = sampled.makeIterator()
    var reasons: [Int: FinishReason] = [:]
    for (item, arrival) in zip(flight.plan.items, flight.arrivals) {
      let new = item.samples ? samples.next()! : []
      guard let i = index[arrival] else { continue }
      running[i].inFlight -= item.tokens.count
      running[i].awaitedSamples -= item.samples ? 1 : 0
      precondition(
        new.isEmpty != item.samples && item.drafts.path(along: new.dropLast().map(\.token)).count == max(0, new.count - 1),
        "the tokens of \(item.id) are not its right drafts and one more")
      running[i].computed = item.end - item.draftCount
      for sample in new {
        if reasons[i] != nil { break }
        running[i].tokens.append(sample.token)
        reasons[i] = running[i].stop.reason(outputCount: running[i].outputCount, sampled: sample)
      }
      if item.samples { running[i].computed = running[i].tokens.count - 1 }
      running[i].reportedCount = running[i].computed
      if item.draftCount > 0 { cache.trim(&running[i]) }
      cache.share(&running[i])
      running[i].nextPromptLogProb = max(running[i].nextPromptLogProb, item.promptLogProbs.upperBound)
      if running[i].abortMessage != nil {
        reasons[i] = nil
      } else if running[i].awaitedSamples == 0, running[i].pendingCount == 0 {
        reasons[i] = .length(0)
      }
    }
    var actions: [SchedulerAction] = []
    for i in running.indices {
      guard let reason = reasons[i] else { continue }
      cache.release(&running[i])
      actions.append(finish(running[i], reason))
    }
    running = running.indices.filter { reasons[$0] == nil }.map { running[$0] }
    return actions + settleNow()
  }

  /// The newest batch in flight failed: its requests end, and nothing that it wrote is kept.
  public mutating func discard() -> [SchedulerAction] {
    precondition(!inFlight.isEmpty, "no batch is in flight")
    let failed = Set(inFlight.removeLast().arrivals)
    for i in running.indices where failed.contains(running[i].arrival) { running[i].abortMessage = "Failed" }
    return settleNow()
  }
}

// MARK: - Policy

extension Scheduler {
  /// Adds as many of a running request's next tokens to the batch as budget and pages allow.
  private mutating func schedule(_ index: Int, _ budget: inout Int, _ items: inout [BatchPlan.Item]) {
    let request = running[index]
    let room = (request.pages.count + cache.availablePages) * configuration.pageSize - request.scheduled
    var count = min(request.pendingCount, budget, room)
    guard count > 0 else { return }
    let copiesStates = cache.planCopy(&running[index], count: &count)
    let missing = configuration.pages(for: request.scheduled + count) - request.pages.count
    if missing > 0 { running[index].pages += cache.allocate(missing)! }
    budget -= count
    if !request.hasStarted {
      running[index].hasStarted = true
      promptTokens += request.promptCount
      cachedTokens += request.computed
    }
    items.append(running[index].item(count: count, sampleRow: sampleRow(request), copiesStates: copiesStates))
    running[index].sharedStates = nil
  }

  /// Where the batch in flight samples the next token of a request.
  private func sampleRow(_ request: ScheduledRequest) -> Int? {
    guard request.awaitedSamples > 0, let flight = inFlight.last else { return nil }
    var row = 0
    for (item, arrival) in zip(flight.plan.items, flight.arrivals) where item.samples {
      if arrival == request.arrival { return row }
      row += 1
    }
    return nil
  }

  /// Gives decoding requests their drafts, as far as budget and pages go.
  private mutating func add(_ drafts: [String: DraftTree], _ budget: Int, _ items: inout [BatchPlan.Item]) {
    var budget = budget
    let index = Dictionary(uniqueKeysWithValues: running.indices.map { (running[$0].id, $0) })
    for place in items.indices {
      let i = index[items[place].id]!
      guard running[i].isDecoding, let draft = drafts[items[place].id] else { continue }
      let room = (running[i].pages.count + cache.availablePages) * configuration.pageSize - items[place].end
      let (depths, deepest) = (draft.depths, running[i].remainingNewTokens - 1)
      let added = draft.filter { depths[$0] <= deepest }.prefix(max(0, min(budget, room)))
      let missing = configuration.pages(for: items[place].end + added.count) - running[i].pages.count
      if missing > 0 { running[i].pages += cache.allocate(missing)! }
      budget -= added.count
      items[place].tokens += added.tokens
      items[place].draftParents = added.parents
      items[place].pages = running[i].pages
    }
  }

  /// Admits waiting requests, in order, until one does not fit. One whose prefix is being computed lets others pass: as
  /// long as it does, the one that computes it runs. One whose adapter has no place lets those without one pass, and none
  /// with: their adapters' requests end, and then there is a place.
  private mutating func admit(_ budget: inout Int, _ items: inout [BatchPlan.Item]) {
    guard !waiting.isEmpty, budget > 0, running.count < configuration.maxRunningRequests else { return }
    var available = cache.availablePages - running.reduce(0) { $0 + reservation(for: $1, share: newTokenRatio.value) }
    let order = admissionOrder()
    var admitted: Set<Int> = []
    var adapters = Set(running.compactMap(\.adapter))
    var areAdaptersHeld = false
    for rank in waiting.indices {
      guard budget > 0, running.count < configuration.maxRunningRequests else { break }
      let place = order?[rank] ?? rank
      if let awaited = waiting[place].awaited, cache.isComputing(awaited) { continue }
      let adapter = waiting[place].adapter
      if let adapter, !adapters.contains(adapter), adapters.count == configuration.maxAdaptersPerBatch { areAdaptersHeld = true }
      if adapter != nil, areAdaptersHeld { continue }
      let match = cache.match(waiting[place])
      waiting[place].awaited = cache.awaitedPrefix(waiting[place], match)
      if waiting[place].awaited != nil { continue }
      let needed = reservation(for: waiting[place], share: 1) - match.pageCount + match.unlockedPages
      guard needed <= available else { break }
      available -= needed
      admitted.insert(place)
      if let adapter { adapters.insert(adapter) }
      running.append(waiting[place])
      cache.admit(&running[running.count - 1], match)
      schedule(running.count - 1, &budget, &items)
    }
    guard let last = admitted.max() else { return }
    waiting.replaceSubrange(...last, with: waiting[...last].indices.filter { !admitted.contains($0) }.map { waiting[$0] })
  }

  /// The waiting requests' places in the order in which to admit them; nil: as they wait.
  private func admissionOrder() -> [Int]? {
    guard configuration.policy == .longestPrefixMatch, waiting.count <= Self.longestMatchedQueue else { return nil }
    let lengths = waiting.map { cache.match($0).pageCount }
    return waiting.indices.sorted {
      (waiting[$1].priority, lengths[$1], $0) < (waiting[$0].priority, lengths[$0], $1)
    }
  }

  /// Pages that a request will still need when it uses `share` of its remaining new tokens.
  private func reservation(for request: ScheduledRequest, share: Double) -> Int {
    let clipped = Double(min(request.remainingNewTokens, Self.reservationClip))
    let expected = Int((clipped * (request.ignoresEndOfSequence ? 1 : share)).rounded(.up))
    return max(0, configuration.pages(for: request.tokenCount + expected) - request.pages.count)
  }

  /// Retracts requests until every decoding one left can run its token.
  private mutating func makeRoomForDecoding() -> [SchedulerAction] {
    var actions: [SchedulerAction] = []
    while missingDecodePages > cache.availablePages { actions.append(retract(at: weakest())) }
    if !actions.isEmpty { raiseNewTokenRatio() }
    return actions
  }

  private var missingDecodePages: Int {
    running.reduce(0) {
      $1.isDecoding ? $0 + configuration.pages(for: $1.scheduled + 1) - $1.pages.count : $0
    }
  }

  /// The running request to retract first: of the lowest priority the one whose recomputation costs least (fewest output
  /// tokens, then longest prompt), then the latest.
  private func weakest() -> Int {
    func strength(_ request: ScheduledRequest) -> (Int, Int, Int, Int) {
      (request.priority, request.outputCount, -request.promptCount, -request.arrival)
    }
    return running.indices.min { strength(running[$0]) < strength(running[$1]) }!
  }

  private mutating func raiseNewTokenRatio() {
    newTokenRatio.raise(
      outputTokens: running.reduce(0) { $0 + $1.outputCount },
      maxNewTokens: running.reduce(0) { $0 + $1.stop.maxNewTokens }, requests: running.count)
  }

  /// Puts a running request back in its place among the waiting.
  private mutating func retract(at index: Int) -> SchedulerAction {
    retractions += 1
    var request = running.remove(at: index)
    cache.release(&request)
    if cache.isEnabled { request.prefixes.extend(over: request.keys) }
    enqueue(request)
    return .retract(id: request.id)
  }

  /// Forgets a request that has left the queues and holds no pages.
  private mutating func finish(_ request: ScheduledRequest, _ reason: FinishReason) -> SchedulerAction {
    liveIDs.remove(request.id)
    return .finish(id: request.id, reason)
  }
}
