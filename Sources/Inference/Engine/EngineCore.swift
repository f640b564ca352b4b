import Checkpoints
import Grammars
import Models
import Parallelism
import Tokenization
import Torch

/// What lives on an engine's thread: the model, its cache, and the scheduler whose plans it carries out.
final class EngineCore {
  let options: EngineOptions
  let ranks: EngineRanks
  /// The first rank's part.
  var model: CausalLM { ranks.runner.model }
  private(set) var scheduler: Scheduler
  var weightVersion: String
  /// Memory that was given back and is not here again.
  var released: Set<MemoryTag> = []
  /// Weights whose values were given up, and that no update has brought since.
  var missingWeights: Set<String> = []
  private let sampler: Sampler
  /// nil: nothing is drafted.
  let speculator: Speculator?
  private let tokenizer: Tokenizer?
  private let modelPath: String
  private let architectures: [String]
  private var live: [String: LiveRequest] = [:]
  private var arrivals = 0
  /// The adapters that requests may name, and who waits until one is gone.
  var adapters = AdapterRegistry()
  var waitersForAdapters: [Int: AdapterWaiter] = [:]
  private var generatedTokens = 0
  /// Whether a batch is planned and queued while the device runs another.
  private let overlaps: Bool
  /// Live requests whose next token cannot be sampled before the last one is known.
  private var sequentialCount = 0
  /// The batch that the device runs.
  private var launched: Launch?

  init(_ folder: HuggingFaceFolder, tokenizer: Tokenizer?, options: EngineOptions) throws {
    try options.speculative?.validate()
    var configuration = try ModelRegistry.configuration(of: folder, provider: options.modelProvider)
    if case .nextN? = options.speculative?.algorithm { configuration = try configuration.withPredictionLayers(1) }
    configuration = configuration.quantized(options.quantization).reaching(options.contextLength)
    try options.requireDeterminism(of: configuration)
    try options.requireStates(of: configuration)
    (self.options, self.tokenizer, weightVersion) = (options, tokenizer, options.weightVersion)
    modelPath = folder.url.path
    architectures = folder.config["architectures"]?.array?.compactMap(\.string) ?? []
    let endOfSequence = Set(folder.endOfSequenceTokenIDs + (tokenizer?.eosTokenID.map { [$0] } ?? []))
    ranks = try EngineRanks(folder, configuration, options)
    sampler = Sampler(parts: ranks.runner.vocabularyParts)
    if let adapters = options.adapters { try ranks.onEvery { $0.makeAdapters(capacity: adapters.maxPerBatch) } }
    let contextLength = options.contextLength ?? configuration.contextLength
    if let limit = configuration.sequenceLimit, contextLength > limit {
      throw EngineError(
        "A context length of \(contextLength) is more than the \(limit) positions that a model of type \(configuration.modelType) has; "
          + "choose at most that.")
    }
    speculator = try Speculator(options, ranks)
    // A CPU does the work when it is told to: there is nothing to overlap with.
    overlaps = speculator == nil && (options.overlapsSchedule ?? (options.device.kind == .cuda && Runtime.hasStreams))
    let limit = try StateLimit(configuration, options, ranks)
    let pageCount = try Self.pageCount(
      configuration, options, ranks, limit, contextLength: contextLength,
      draftBytes: speculator?.drafter.cacheBytesPerToken ?? 0)
    try ranks.onEvery { [pageSize = options.pageSize, keepsAddresses = options.keepsAddresses] in
      try $0.makeCache(
        pageCount: pageCount, pageSize: pageSize, stateSlots: limit.slots ?? 0, keepsAddresses: keepsAddresses)
    }
    scheduler = try Scheduler(
      SchedulerConfiguration(
        pageSize: options.pageSize, totalPages: pageCount, contextLength: contextLength,
        vocabularySize: configuration.vocabularySize, endOfSequence: endOfSequence,
        maxRunningRequests: limit.requests,
        maxBatchTokens: max(options.chunkedPrefillSize, limit.requests),
        conservativeness: options.scheduleConservativeness, policy: options.schedulePolicy,
        disableRadixCache: options.disableRadixCache, maxAdaptersPerBatch: options.adapters?.maxPerBatch ?? .max,
        stateSlots: limit.slots))
    try speculator?.drafter.prepare(scheduler.configuration)
    try recordDecoding()
  }

  /// Records decoding steps, which follow no draft.
  func recordDecoding() throws {
    guard speculator == nil else { return }
    let (contextLength, largest) = (
      scheduler.configuration.contextLength, min(options.recordedBatch, options.maxRunningRequests))
    try ranks.onEvery { try $0.recordDecoding(contextLength: contextLength, largestBatch: largest) }
  }

  private static func pageCount(
    _ configuration: ModelConfiguration, _ options: EngineOptions, _ ranks: EngineRanks, _ limit: StateLimit,
    contextLength: Int, draftBytes: Int
  ) throws -> Int {
    guard options.pageSize > 0 else { throw EngineError("The page size must be at least 1, got \(options.pageSize).") }
    let longestPages = (contextLength + options.pageSize - 1) / options.pageSize
    let tokens: Int
    if let maxTotalTokens = options.maxTotalTokens {
      tokens = maxTotalTokens
    } else {
      let bytes = try ranks.smallest { try $0.cacheBytes(options) } - limit.bytes
      let perToken = KVCache.bytesPerToken(
        configuration, dtype: ranks.runner.cacheType, tensorParallelSize: options.tensorParallelSize)
        + draftBytes
      tokens = min(bytes / perToken, limit.requests * longestPages * options.pageSize)
    }
    guard tokens >= options.pageSize else {
      throw EngineError(
        "The KV cache would hold \(tokens) tokens, less than a page of \(options.pageSize); give it more memory or tokens.")
    }
    return tokens / options.pageSize
  }

  // MARK: Requests

  /// Whether there is something to do now. Nothing is begun without memory or weights.
  var hasWork: Bool { launched != nil || canPlan }
  private var canPlan: Bool { scheduler.hasWork && released.isEmpty && missingWeights.isEmpty }

  /// - Parameters:
  ///   - grammar: what the request's grammar was made into.
  ///   - images: what its pictures were.
  func submit(
    _ request: GenerateRequest, grammar: TokenGrammar? = nil, images: RequestImages? = nil, arrival: ContinuousClock.Instant, to mailbox: Mailbox
  ) {
    guard !mailbox.isOver else { return }
    let adapter: Int?
    do {
      adapter = try self.adapter(of: request)
      if tokenizer == nil, !request.sampling.stop.isEmpty {
        throw InvalidRequest("stop strings need a tokenizer, which this engine runs without; use stop_token_ids.")
      }
      if request.hiddenStates != nil, !options.returnsHiddenStates {
        throw InvalidRequest(
          "return_hidden_states needs an engine that was started with --enable-return-hidden-states; leave it out.")
      }
      if request.routedExpertsStart != nil, model.configuration.mixture == nil {
        throw InvalidRequest("return_routed_experts needs a model with experts, and this one has none; leave it out.")
      }
      if images != nil, speculator != nil {
        throw InvalidRequest("image_data cannot be served by an engine that drafts tokens; start one without speculative decoding.")
      }
      try scheduler.submit(request, adapter: adapter)
    } catch {
      return mailbox.end(.failure(error))
    }
    let stop = scheduler.configuration.stopCondition(for: request)
    let seed = request.sampling.samplingSeed
      ?? Int(truncatingIfNeeded: SamplingNoise(seed: options.randomSeed, position: arrivals).key)
    arrivals += 1
    let constraint = grammar.map {
      GrammarConstraint(
        $0, endTokens: scheduler.configuration.endOfSequence.union(request.sampling.stopTokenIDs),
        ignoresEnd: request.sampling.ignoreEOS)
    }
    let new = LiveRequest(
      request, adapter: adapter, seed: seed, arrival: arrival, stop: stop, tokenizer: tokenizer, constraint: constraint,
      weightVersion: weightVersion, mailbox: mailbox)
    new.images = images
    live[request.id] = new
    if let adapter { adapters.begin(adapter) }
    sequentialCount += new.response.needsTokens ? 1 : 0
  }

  func abort(_ id: String?, message: String = "Aborted") { apply(scheduler.abort(id, message: message)) }

  /// The consumer of this mailbox has gone.
  func cancel(_ id: String, _ mailbox: Mailbox) {
    if live[id]?.mailbox === mailbox { abort(id) }
  }

  func pause(_ mode: PauseMode) {
    apply(scheduler.pause(mode))
    for request in live.values { request.report(always: true) }
  }

  func resume() { scheduler.resume() }

  /// - Returns: false, with nothing forgotten, while requests run.
  func flushCache() -> Bool {
    guard scheduler.canFlush else { return false }
    scheduler.forgetPrefixes()
    return true
  }

  func forgetPrefixes() {
    scheduler.forgetPrefixes()
    speculator?.drafter.forget()
  }

  /// - Throws: `PageAccountingError` when a KV page leaked or has two owners.
  func checkIntegrity() throws {
    try scheduler.checkIntegrity()
    try speculator?.drafter.checkIntegrity()
  }

  /// Ends everything: the engine is going.
  func shutDown() {
    for request in live.values { request.mailbox.end(.failure(EngineError("The engine was shut down."))) }
    live = [:]
    for done in waitersForAdapters.values { done(.failure(EngineError("The engine was shut down."))) }
    waitersForAdapters = [:]
  }

  var status: EngineStatus {
    var status = EngineStatus()
    status.modelPath = modelPath
    status.modelType = model.configuration.modelType
    status.architectures = architectures
    status.weightVersion = weightVersion
    status.vocabularySize = model.configuration.vocabularySize
    status.contextLength = scheduler.configuration.contextLength
    status.maxRunningRequests = scheduler.configuration.maxRunningRequests
    status.runningRequests = scheduler.runningCount
    status.waitingRequests = scheduler.waitingCount
    status.pageSize = options.pageSize
    status.totalPages = scheduler.configuration.totalPages
    status.freePages = scheduler.freePages
    status.evictablePages = scheduler.evictablePages
    status.generatedTokens = generatedTokens
    status.promptTokensTotal = scheduler.promptTokens
    status.cachedTokensTotal = scheduler.cachedTokens
    status.evictedTokensTotal = scheduler.evictedTokens
    status.retractedTotal = scheduler.retractions
    status.speculation = speculator?.counts
    status.takesImages = model.configuration.vision != nil
    status.adapters = options.adapters == nil ? nil : adapters.descriptions
    return status
  }

  private func apply(_ actions: [SchedulerAction]) {
    for action in actions {
      switch action {
      case .finish(let id, let reason):
        if let request = live[id] { leave(request) { $0.finish(reason) } }
      case .retract(let id): live[id]?.noteRetraction()
      }
    }
  }

  // MARK: Steps

  /// Plans one batch and runs it, or, where that overlaps, queues one behind the batch that the device runs and sees to
  /// what that one gave. An error ends the requests of the batch and nothing else.
  func step() {
    let before = launched
    launched = before == nil || canRunAhead ? launch() : nil
    if let before {
      complete(before)
    } else if !canRunAhead {
      drain()
    }
  }

  private var canRunAhead: Bool { overlaps && sequentialCount == 0 }

  /// Sees to the batch that the device runs, so that none does.
  func drain() {
    guard let last = launched else { return }
    launched = nil
    complete(last)
  }

  /// A batch that was queued on the device, and what it gives.
  private struct Launch {
    var plan: BatchPlan
    /// Those of its items.
    var requests: [LiveRequest]
    /// Of each item that samples, the next token and those that would follow its drafts.
    var samples: Sampler.Pending?
    /// Of wanted prompt positions, block by block in the order of the plan, with their tokens.
    var prompts: [(logProbs: LogProbs, tokens: [Int])] = []
    /// Of all tokens, `[T, layers, expertsPerToken]`, int32; nil: no request asks.
    var routedExperts: HostCopy?
    /// Of the tokens of items whose requests want them, `[tokens, hiddenSize]`, fp32; nil: none does.
    var hiddenStates: HostCopy?
  }

  private func launch() -> Launch? {
    guard canPlan else { return nil }
    let drafts = Result { try catchingTorchErrors { try speculator?.drafts(for: scheduler.decoding) { live[$0]! } ?? [:] } }
    let step = scheduler.plan(drafts: (try? drafts.get()) ?? [:])
    apply(step.actions)
    guard let plan = step.plan else { return nil }
    do {
      _ = try drafts.get()
      return try catchingTorchErrors { try run(plan) }
    } catch {
      fail(Launch(plan: plan, requests: plan.items.map { live[$0.id]! }), error)
      return nil
    }
  }

  private func run(_ plan: BatchPlan) throws -> Launch {
    try options.onPlan?(plan)
    var launch = Launch(plan: plan, requests: plan.items.map { live[$0.id]! })
    let isRouted = launch.requests.contains(where: \.wantsRoutedExperts)
    let images = launch.requests.map(\.images)
    try ranks.onEvery({ [keepsSamples = canRunAhead] in
      try $0.run(plan, images: images, routing: nil, keepsSamples: keepsSamples, sampled: { _ in nil }, prompt: { _, _ in })
    }, first: { runner in
      let routing = isRouted ? RoutingRecord() : nil
      let wanted = WantedLogProbs(plan, launch.requests)
      let hiddenRows = plan.rows { live[$0.id]!.request.hiddenStates != nil }
      let rows = zip(plan.items, launch.requests).flatMap { $0.samples ? $1.samplerRows($0) : [] }
      try runner.run(plan, images: images, routing: routing, keepsSamples: canRunAhead, sampling: {
        sampler.plain(rows, on: options.device, runner.dtype)
      }, sampled: { logits in
        launch.samples = try sampler.sample(logits.values, rows, samples: logits.samples)
        return launch.samples?.tokens
      }, prompt: { block, logits in
        launch.prompts.append(try wanted.compute(block, logits, parts: runner.vocabularyParts, dtype: runner.dtype))
      }, hidden: hiddenRows.isEmpty ? nil : { hidden in
        let rows = Tensor(hiddenRows).sent(to: hidden.device)
        launch.hiddenStates = try HostCopy(hidden.indexSelect(0, index: rows).to(dtype: .float32))
      })
      launch.routedExperts = try routing?.stacked(layerCount: model.configuration.layerCount).map { try HostCopy($0) }
    })
    return launch
  }

  private func complete(_ launch: Launch) {
    do {
      let samples = try launch.samples?.samples() ?? []
      let prompts = try launch.prompts.flatMap { try $0.logProbs.values($0.tokens).compactMap { $0 } }
      try complete(
        launch, samples, prompts, routedExperts: try launch.routedExperts?.tensor(),
        hiddenStates: try launch.hiddenStates?.tensor())
    } catch {
      // What was queued behind it is worth no more.
      if let next = launched {
        launched = nil
        fail(next, error)
      }
      fail(launch, error)
    }
  }

  private func complete(
    _ launch: Launch, _ samples: [Sampler.Sample], _ prompts: [TokenLogProbs], routedExperts: Tensor?,
    hiddenStates: Tensor?
  ) throws {
    var prompts = prompts.makeIterator()
    var samples = samples[...]
    var sampled: [[SampledToken]] = []
    var kept: [KeptTokens] = []
    var (row, hiddenRow) = (0, 0)
    for (item, request) in zip(launch.plan.items, launch.requests) {
      request.noteStart(item.start)
      for _ in item.promptLogProbs { request.addInput(prompts.next()!) }
      let isLive = live[item.id] === request
      let accepted = !item.samples ? []
        : isLive ? accept(item, Array(samples.prefix(item.sampleCount)), request) : [SampledToken(0)]
      samples = samples.dropFirst(item.sampleCount)
      let own = KeptTokens(item, rightDrafts: item.drafts.path(along: accepted.dropLast().map(\.token)))
      kept.append(own)
      if let routedExperts, request.wantsRoutedExperts, isLive {
        request.note(own.rows(of: routedExperts, from: row), position: item.start)
      }
      if let hiddenStates, request.request.hiddenStates != nil {
        if isLive { request.note(hidden: own.rows(of: hiddenStates, from: hiddenRow), position: item.start) }
        hiddenRow += item.tokens.count
      }
      row += item.tokens.count
      if item.samples { sampled.append(accepted) }
      if item.samples, isLive { generatedTokens += accepted.count }
    }
    try catchingTorchErrors { try keep(kept) }
    apply(scheduler.complete(sampled))
    for (item, request) in zip(launch.plan.items, launch.requests) where item.samples && live[item.id] === request {
      request.report()
    }
  }

  /// Brings what was computed of right drafts to where it belongs, and shows the drafter.
  private func keep(_ kept: [KeptTokens]) throws {
    let moves = kept.map { $0.moves(pageSize: options.pageSize) }
    let (sources, destinations) = (moves.flatMap(\.sources), moves.flatMap(\.destinations))
    if !sources.isEmpty { try ranks.onEvery { $0.move(from: sources, to: destinations) } }
    try speculator?.drafter.follow(kept.map(\.computed))
  }

  /// Gives a request the token that was sampled, and while that is what was drafted and the response goes on, the one
  /// sampled after it: what comes out is what running one token a step would have.
  /// - Parameter samples: those after the certain tokens, and after each draft.
  private func accept(
    _ item: BatchPlan.Item, _ samples: [Sampler.Sample], _ request: LiveRequest
  ) -> [SampledToken] {
    var accepted: [SampledToken] = []
    let drafts = item.drafts
    var place: Int? = DraftTree.root
    while let node = place {
      let sample = samples[node + 1]
      guard sample.isValid else {
        fail(request, EngineError(
          "The logits hold no finite number to sample; check the weights, the dtype, logit_bias and the grammar."))
        accepted.append(SampledToken(0))
        break
      }
      let token = request.append(sample.token, sample.logProbs, weightVersion: weightVersion)
      accepted.append(token)
      place = request.ends(with: token) ? nil : drafts.child(of: node, token: sample.token)
    }
    if item.draftCount > 0 {
      request.noteDrafts(proposed: item.draftCount, correct: accepted.count - 1)
      speculator?.note(proposed: item.draftCount, correct: accepted.count - 1)
    }
    return accepted
  }

  /// Ends the requests of the newest batch in flight with an error.
  private func fail(_ launch: Launch, _ error: any Error) {
    for (item, request) in zip(launch.plan.items, launch.requests) where live[item.id] === request { end(request, error) }
    apply(scheduler.discard())
  }

  /// Ends a request of the batch in flight with an error; the scheduler lets it go when the batch is complete.
  private func fail(_ request: LiveRequest, _ error: any Error) {
    end(request, error)
    apply(scheduler.abort(request.request.id))
  }

  private func end(_ request: LiveRequest, _ error: any Error) {
    leave(request) {
      $0.mailbox.end(.failure(EngineError("The engine failed while it ran this request: \(error)")))
    }
  }

  private func leave(_ request: LiveRequest, _ tell: (LiveRequest) -> Void) {
    live[request.request.id] = nil
    sequentialCount -= request.response.needsTokens ? 1 : 0
    tell(request)
    speculator?.end(request)
    if let adapter = request.adapter { leaveAdapter(adapter) }
  }
}

extension BatchPlan {
  /// The rows of the batch that are those of some items.
  fileprivate func rows(where isWanted: (Item) -> Bool) -> [Int] {
    var start = 0
    return items.flatMap { item -> Range<Int> in
      defer { start += item.tokens.count }
      return isWanted(item) ? start..<start + item.tokens.count : 0..<0
    }
  }
}

/// The tokens of an item that stay: those that are no drafts, and the drafts that were right.
private struct KeptTokens {
  private let item: BatchPlan.Item
  /// Places among the item's drafts, in their order.
  private let rightDrafts: [Int]

  init(_ item: BatchPlan.Item, rightDrafts: [Int]) { (self.item, self.rightDrafts) = (item, rightDrafts) }

  private var isChain: Bool { rightDrafts.elementsEqual(rightDrafts.indices) }

  /// Of something that has a row for each token of the item.
  func rows(of tensor: Tensor, from first: Int) -> Tensor {
    guard !isChain else { return tensor.narrow(0, start: first, length: item.certainCount + rightDrafts.count) }
    let rows = first..<first + item.certainCount
    return tensor.indexSelect(0, index: Tensor(Array(rows) + rightDrafts.map { rows.upperBound + $0 }))
  }

  /// Cache slots of right drafts that stand in others' places, and the places that are theirs.
  func moves(pageSize: Int) -> (sources: [Int], destinations: [Int]) {
    guard !isChain else { return ([], []) }
    let slots = Array(item.slots(pageSize: pageSize).dropFirst(item.certainCount))
    let moved = rightDrafts.indices.filter { rightDrafts[$0] != $0 }
    return (moved.map { slots[rightDrafts[$0]] }, moved.map { slots[$0] })
  }

  var computed: ComputedTokens {
    let drafts = item.drafts.tokens
    return ComputedTokens(
      start: item.start, tokens: item.tokens.prefix(item.certainCount) + rightDrafts.map { drafts[$0] }, pages: item.pages)
  }
}

/// The prompt positions of a batch whose log-probabilities are wanted, in the plan's order.
private struct WantedLogProbs {
  private var requests: [LogProbRequest?] = []
  private var targets: [Int] = []

  init(_ plan: BatchPlan, _ live: [LiveRequest]) {
    for (item, request) in zip(plan.items, live) where !item.promptLogProbs.isEmpty {
      requests += repeatElement(request.logProbRequest, count: item.promptLogProbs.count)
      targets += request.request.tokens[item.promptLogProbs]
    }
  }

  /// - Parameters:
  ///   - logits: of the positions in `block`.
  ///   - parts: in deterministic mode, the ranks' parts of the vocabulary.
  ///   - dtype: of the logits as the model gave them.
  func compute(
    _ block: Range<Int>, _ logits: Tensor, parts: [Range<Int>]?, dtype: DType
  ) throws -> (LogProbs, tokens: [Int]) {
    let wanted = Array(targets[block])
    let logProbs = try LogProbs(
      logits, tokens: Tensor(wanted).sent(to: logits.device), Array(requests[block]), parts: parts, dtype: dtype)
    return (logProbs, wanted)
  }
}
