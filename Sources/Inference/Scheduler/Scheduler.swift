/// Decides what an engine runs next: continuous batching with chunked prefill over a paged KV cache.
///
/// A pure state machine. Messages change its state (`submit`, `abort`, `pause`, `resume`), `plan` says what to run, and
/// `complete` takes what was sampled. It knows no clock, no tensor and no thread, so ranks that see the same messages decide
/// alike, and a recorded run can be replayed.
///
/// First come, first served. Decoding requests always run; what is left of a batch goes to prompts. A request is admitted
/// when the pages not needed by the running ones, by `NewTokenRatio`'s estimate, hold it. When the estimate was too
/// low and pages run out, the requests with the fewest output tokens are retracted: their pages are freed, their
/// tokens kept, and they wait in their old place to be computed again (SGLang's policy).
public struct Scheduler: Sendable {
  /// `max_new_tokens` beyond this is not reserved for (SGLang's clip).
  private static let reservationClip = 4096

  public let configuration: SchedulerConfiguration
  public private(set) var mode = SchedulerMode.running
  private var allocator: PageAllocator
  /// In order of arrival.
  private var waiting: [ScheduledRequest] = []
  /// In order of admission.
  private var running: [ScheduledRequest] = []
  private var liveIDs: Set<String> = []
  private var arrivals = 0
  private var newTokenRatio: NewTokenRatio
  private var inFlight: BatchPlan?

  public init(_ configuration: SchedulerConfiguration) throws(InvalidSchedulerConfiguration) {
    try configuration.validate()
    self.configuration = configuration
    allocator = PageAllocator(pageCount: configuration.totalPages)
    newTokenRatio = NewTokenRatio(conservativeness: configuration.conservativeness)
  }

  public var runningCount: Int { running.count }
  public var waitingCount: Int { waiting.count }
  public var freePages: Int { allocator.freeCount }
  public var hasWork: Bool { mode == .running && !(running.isEmpty && waiting.isEmpty) }
  /// Whether no request holds pages and none is about to: the cache may be forgotten and weights replaced.
  public var canFlush: Bool { running.isEmpty && (waiting.isEmpty || mode != .running) }

  /// - Throws: `PageAccountingError` when a page leaked or has two owners.
  public func checkIntegrity() throws(PageAccountingError) {
    try allocator.checkConservation(held: running.lazy.flatMap(\.pages))
  }
}

// MARK: - Messages

extension Scheduler {
  /// Queues a request.
  /// - Throws: `InvalidRequest` when it is malformed, its id is live, or it could never run.
  public mutating func submit(_ request: GenerateRequest) throws(InvalidRequest) {
    try request.validate(
      vocabularySize: configuration.vocabularySize, contextLength: configuration.contextLength,
      tokenCapacity: configuration.tokenCapacity)
    guard liveIDs.insert(request.id).inserted else {
      throw InvalidRequest("The request id \(request.id) is that of a request still being served; use another.")
    }
    waiting.append(ScheduledRequest(request, arrival: arrivals, configuration: configuration))
    arrivals += 1
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

  /// Carries out what had to wait for the batch in flight.
  private mutating func settle() -> [SchedulerAction] {
    guard inFlight == nil else { return [] }
    var actions: [SchedulerAction] = []
    for i in running.indices {
      if let message = running[i].abortMessage {
        releasePages(at: i)
        actions.append(finish(running[i], .abort(message)))
      }
    }
    running.removeAll { $0.abortMessage != nil }
    if mode == .pausedRetracted {
      while !running.isEmpty { actions.append(retract(at: running.count - 1)) }
    }
    return actions
  }
}

// MARK: - Steps

extension Scheduler {
  /// The next batch. It must be completed before another is planned.
  public mutating func plan() -> SchedulerStep {
    precondition(inFlight == nil, "a batch is still in flight")
    guard hasWork else { return SchedulerStep() }
    if running.isEmpty { newTokenRatio.reset() }

    var step = SchedulerStep(actions: makeRoomForDecoding())
    var items: [BatchPlan.Item] = []
    var budget = configuration.maxBatchTokens
    for i in running.indices where running[i].isDecoding { schedule(i, &budget, &items) }
    if !items.isEmpty { newTokenRatio.decay() }
    for i in running.indices where !running[i].isDecoding { schedule(i, &budget, &items) }
    if step.actions.isEmpty { admit(&budget, &items) }
    if items.isEmpty {
      // Several prompts hold pages and none can get the next: the weakest gives way.
      step.actions.append(retract(at: weakest()))
      raiseNewTokenRatio()
      for i in running.indices { schedule(i, &budget, &items) }
    }
    inFlight = BatchPlan(items: items)
    step.plan = inFlight
    return step
  }

  /// Takes what was sampled for the items of the plan that sample, in their order.
  public mutating func complete(_ sampled: [SampledToken]) -> [SchedulerAction] {
    guard let plan = inFlight else { preconditionFailure("no batch is in flight") }
    let expected = plan.items.count(where: \.samples)
    precondition(sampled.count == expected, "\(sampled.count) tokens for \(expected) requests")
    inFlight = nil

    let index = Dictionary(uniqueKeysWithValues: running.indices.map { (running[$0].id, $0) })
    var samples = sampled.makeIterator()
    var reasons: [Int: FinishReason] = [:]
    for item in plan.items {
      let i = index[item.id]!
      running[i].computed = item.end
      running[i].nextPromptLogProb = max(running[i].nextPromptLogProb, item.promptLogProbs.upperBound)
      if item.samples {
        let sample = samples.next()!
        running[i].tokens.append(sample.token)
        if running[i].abortMessage != nil { continue }
        reasons[i] =
          running[i].stop.reason(outputCount: running[i].outputCount, token: sample.token)
          ?? sample.stopString.map(FinishReason.stopString) ?? (sample.isLast ? .stopToken(sample.token) : nil)
      } else if running[i].pendingCount == 0 {
        reasons[i] = .length(0)
      }
    }
    var actions: [SchedulerAction] = []
    for i in running.indices {
      guard let reason = reasons[i] else { continue }
      releasePages(at: i)
      actions.append(finish(running[i], reason))
    }
    running = running.indices.filter { reasons[$0] == nil }.map { running[$0] }
    return actions + settle()
  }
}

// MARK: - Policy

extension Scheduler {
  /// Adds as many of a running request's next tokens to the batch as budget and pages allow.
  private mutating func schedule(_ index: Int, _ budget: inout Int, _ items: inout [BatchPlan.Item]) {
    let request = running[index]
    let room = (request.pages.count + allocator.freeCount) * configuration.pageSize - request.computed
    let count = min(request.pendingCount, budget, room)
    guard count > 0 else { return }
    let missing = configuration.pages(for: request.computed + count) - request.pages.count
    if missing > 0 { running[index].pages += allocator.allocate(missing)! }
    budget -= count
    items.append(running[index].item(count: count))
  }

  /// Admits waiting requests, in order, until one does not fit.
  private mutating func admit(_ budget: inout Int, _ items: inout [BatchPlan.Item]) {
    var available = allocator.freeCount - running.reduce(0) { $0 + reservation(for: $1, share: newTokenRatio.value) }
    var admitted = 0
    while admitted < waiting.count, budget > 0, running.count < configuration.maxRunningRequests {
      let needed = reservation(for: waiting[admitted], share: 1)
      guard needed <= available else { break }
      available -= needed
      running.append(waiting[admitted])
      admitted += 1
      schedule(running.count - 1, &budget, &items)
    }
    waiting.removeFirst(admitted)
  }

  /// Pages that a request will still need when it uses `share` of its remaining new tokens.
  private func reservation(for request: ScheduledRequest, share: Double) -> Int {
    let clipped = Double(min(request.remainingNewTokens, Self.reservationClip))
    let expected = Int((clipped * (request.ignoresEndOfSequence ? 1 : share)).rounded(.up))
    return max(0, configuration.pages(for: request.tokens.count + expected) - request.pages.count)
  }

  /// Retracts requests until every decoding one left can run its token.
  private mutating func makeRoomForDecoding() -> [SchedulerAction] {
    var actions: [SchedulerAction] = []
    while missingDecodePages > allocator.freeCount { actions.append(retract(at: weakest())) }
    if !actions.isEmpty { raiseNewTokenRatio() }
    return actions
  }

  private var missingDecodePages: Int {
    running.reduce(0) {
      $1.isDecoding ? $0 + configuration.pages(for: $1.computed + 1) - $1.pages.count : $0
    }
  }

  /// The running request whose recomputation costs least: fewest output tokens, then longest prompt, then the latest.
  private func weakest() -> Int {
    running.indices.min {
      (running[$0].outputCount, -running[$0].promptCount, -running[$0].arrival)
        < (running[$1].outputCount, -running[$1].promptCount, -running[$1].arrival)
    }!
  }

  private mutating func raiseNewTokenRatio() {
    newTokenRatio.raise(
      outputTokens: running.reduce(0) { $0 + $1.outputCount },
      maxNewTokens: running.reduce(0) { $0 + $1.stop.maxNewTokens }, requests: running.count)
  }

  /// Puts a running request back in its place among the waiting.
  private mutating func retract(at index: Int) -> SchedulerAction {
    releasePages(at: index)
    var request = running.remove(at: index)
    request.computed = 0
    let place = waiting.firstIndex { $0.arrival > request.arrival } ?? waiting.count
    waiting.insert(request, at: place)
    return .retract(id: request.id)
  }

  private mutating func releasePages(at index: Int) {
    allocator.free(running[index].pages)
    running[index].pages = []
  }

  /// Forgets a request that has left the queues and holds no pages.
  private mutating func finish(_ request: ScheduledRequest, _ reason: FinishReason) -> SchedulerAction {
    liveIDs.remove(request.id)
    return .finish(id: request.id, reason)
  }
}
