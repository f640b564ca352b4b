import Checkpoints
import Models
import Parallelism
import Tokenization
import Torch

/// What lives on an engine's thread: the model, its cache, and the scheduler whose plans it carries out.
final class EngineCore {
  let options: EngineOptions
  let model: CausalLM
  let dtype: DType
  private(set) var scheduler: Scheduler
  var weightVersion: String
  /// Memory that was given back and is not here again.
  var released: Set<MemoryTag> = []
  /// Weights whose values were given up, and that no update has brought since.
  var missingWeights: Set<String> = []
  var stashedWeights: [Tensor] = []
  let cache: KVCache
  private let sampler = Sampler()
  private let tokenizer: Tokenizer?
  private let modelPath: String
  private let architectures: [String]
  private var live: [String: LiveRequest] = [:]
  private var arrivals = 0
  private var generatedTokens = 0

  init(_ folder: HuggingFaceFolder, tokenizer: Tokenizer?, options: EngineOptions) throws {
    let configuration = try ModelRegistry.configuration(of: folder)
    (self.options, self.tokenizer, weightVersion) = (options, tokenizer, options.weightVersion)
    modelPath = folder.url.path
    architectures = folder.config["architectures"]?.array?.compactMap(\.string) ?? []
    let endOfSequence = Set(folder.endOfSequenceTokenIDs + (tokenizer?.eosTokenID.map { [$0] } ?? []))
    let dtype = options.dtype ?? configuration.dtype ?? .float32
    self.dtype = dtype
    if options.device.kind == .cuda {
      try Runtime.openCUDA()
      Runtime.setCurrent(options.device)
    }
    let model = try CausalLM(configuration, parallel: .single(options.device), dtype: dtype)
    try catchingTorchErrors { try model.load(folder, dtype: dtype, device: options.device) }
    self.model = model
    let contextLength = options.contextLength ?? configuration.contextLength
    let pageCount = try Self.pageCount(configuration, options, dtype: dtype, contextLength: contextLength)
    cache = try catchingTorchErrors {
      KVCache(configuration, pageCount: pageCount, pageSize: options.pageSize, dtype: dtype, device: options.device)
    }
    scheduler = try Scheduler(
      SchedulerConfiguration(
        pageSize: options.pageSize, totalPages: pageCount, contextLength: contextLength,
        vocabularySize: configuration.vocabularySize, endOfSequence: endOfSequence,
        maxRunningRequests: options.maxRunningRequests,
        maxBatchTokens: max(options.chunkedPrefillSize, options.maxRunningRequests),
        conservativeness: options.scheduleConservativeness))
  }

  private static func pageCount(
    _ configuration: ModelConfiguration, _ options: EngineOptions, dtype: DType, contextLength: Int
  ) throws -> Int {
    guard options.pageSize > 0 else { throw EngineError("The page size must be at least 1, got \(options.pageSize).") }
    let longestPages = (contextLength + options.pageSize - 1) / options.pageSize
    let tokens: Int
    if let maxTotalTokens = options.maxTotalTokens {
      tokens = maxTotalTokens
    } else {
      let bytes = options.cacheBytes
      tokens = min(
        bytes / KVCache.bytesPerToken(configuration, dtype: dtype), options.maxRunningRequests * longestPages * options.pageSize)
    }
    guard tokens >= options.pageSize else {
      throw EngineError(
        "The KV cache would hold \(tokens) tokens, less than a page of \(options.pageSize); give it more memory or tokens.")
    }
    return tokens / options.pageSize
  }

  // MARK: Requests

  /// Whether there is something to run now. Nothing runs without memory or weights.
  var hasWork: Bool { scheduler.hasWork && released.isEmpty && missingWeights.isEmpty }

  func submit(_ request: GenerateRequest, arrival: ContinuousClock.Instant, to mailbox: Mailbox) {
    guard !mailbox.isOver else { return }
    do {
      if tokenizer == nil, !request.sampling.stop.isEmpty {
        throw InvalidRequest("stop strings need a tokenizer, which this engine runs without; use stop_token_ids.")
      }
      if request.routedExpertsStart != nil, model.configuration.mixture == nil {
        throw InvalidRequest("return_routed_experts needs a model with experts, and this one has none; leave it out.")
      }
      try scheduler.submit(request)
    } catch {
      return mailbox.end(.failure(error))
    }
    let stop = scheduler.configuration.stopCondition(for: request)
    let seed = request.sampling.samplingSeed
      ?? Int(truncatingIfNeeded: SamplingNoise(seed: options.randomSeed, position: arrivals).key)
    arrivals += 1
    live[request.id] = LiveRequest(
      request, seed: seed, arrival: arrival, stop: stop, tokenizer: tokenizer, weightVersion: weightVersion, mailbox: mailbox)
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

  /// Ends everything: the engine is going.
  func shutDown() {
    for request in live.values { request.mailbox.end(.failure(EngineError("The engine was shut down."))) }
    live = [:]
  }

  var status: EngineStatus {
    var status = EngineStatus()
    status.modelPath = modelPath
    status.modelType = model.configuration.modelType
    status.architectures = architectures
    status.weightVersion = weightVersion
    status.vocabularySize = model.configuration.vocabularySize
    status.contextLength = scheduler.configuration.contextLength
    status.maxRunningRequests = options.maxRunningRequests
    status.runningRequests = scheduler.runningCount
    status.waitingRequests = scheduler.waitingCount
    status.pageSize = options.pageSize
    status.totalPages = scheduler.configuration.totalPages
    status.freePages = scheduler.freePages
    status.generatedTokens = generatedTokens
    return status
  }

  private func apply(_ actions: [SchedulerAction]) {
    for action in actions {
      switch action {
      case .finish(let id, let reason): live.removeValue(forKey: id)?.finish(reason)
      case .retract(let id): live[id]?.noteRetraction()
      }
    }
  }

  // MARK: Steps

  /// Plans one batch and runs it. An error ends the requests of the batch and nothing else.
  func step() {
    let step = scheduler.plan()
    apply(step.actions)
    guard let plan = step.plan else { return }
    do {
      complete(plan, try catchingTorchErrors { try run(plan) })
    } catch {
      fail(plan, error)
    }
  }

  /// What one forward pass gives.
  private struct StepResult {
    /// One an item that samples.
    var samples: [Sampler.Sample]
    /// One a wanted prompt position, in the order of the plan.
    var promptLogProbs: [TokenLogProbs]
    /// Of all tokens, `[T, layers, expertsPerToken]`, int32, on the host; nil: no request asks.
    var routedExperts: Tensor?
  }

  private func run(_ plan: BatchPlan) throws -> StepResult {
    try options.onPlan?(plan)
    let device = options.device
    let tokens = Tensor(plan.items.flatMap(\.tokens)).to(device: device)
    let positions = Tensor(plan.items.flatMap { Array($0.start..<$0.end) }).to(device: device)
    let attention = PagedAttention(plan, cache: cache, dtype: dtype, device: device)
    let routing = plan.items.contains { live[$0.id]!.wantsRoutedExperts } ? RoutingRecord() : nil
    let hidden = model.hidden(tokens, ForwardContext(positions: positions, attention: attention, routing: routing))
    let rows = LogitRows(plan)
    var samples: [Sampler.Sample] = []
    if !rows.sampled.isEmpty {
      let isWhole = rows.sampled.count == plan.tokenCount
      let last = isWhole ? hidden : hidden.indexSelect(0, index: Tensor(rows.sampled).to(device: device))
      samples = try sampler.sample(
        model.logits(last), plan.items.filter(\.samples).map { live[$0.id]!.samplerRow(position: $0.end) })
    }
    return StepResult(
      samples: samples, promptLogProbs: try promptLogProbs(plan, rows, hidden),
      routedExperts: routing?.stacked(layerCount: model.configuration.layerCount)?.to(device: .cpu))
  }

  /// Logits of prompts are made for so many numbers at a time.
  private static let maxPromptLogits = 1 << 25

  private func promptLogProbs(_ plan: BatchPlan, _ rows: LogitRows, _ hidden: Tensor) throws -> [TokenLogProbs] {
    let requests = plan.items.flatMap { item in
      repeatElement(item.promptLogProbs.isEmpty ? nil : live[item.id]!.logProbRequest, count: item.promptLogProbs.count)
    }
    let targets = plan.items.flatMap { item in
      item.promptLogProbs.isEmpty ? [] : Array(live[item.id]!.request.tokens[item.promptLogProbs])
    }
    let block = max(1, Self.maxPromptLogits / model.configuration.vocabularySize)
    return try stride(from: 0, to: targets.count, by: block).flatMap { start in
      let range = start..<min(start + block, targets.count)
      let index = Tensor(Array(rows.prompt[range])).to(device: options.device)
      let logits = model.logits(hidden.indexSelect(0, index: index)).to(dtype: .float32)
      let wanted = Array(targets[range])
      return try LogProbs.compute(
        logits, tokens: Tensor(wanted).to(device: options.device), wanted, Array(requests[range])
      ).compactMap { $0 }
    }
  }

  private func complete(_ plan: BatchPlan, _ result: StepResult) {
    var prompts = result.promptLogProbs.makeIterator()
    var samples = result.samples.makeIterator()
    var sampled: [SampledToken] = []
    var row = 0
    for item in plan.items {
      let request = live[item.id]!
      if let experts = result.routedExperts, request.wantsRoutedExperts {
        request.note(experts.narrow(0, start: row, length: item.tokens.count), position: item.start)
      }
      row += item.tokens.count
      for _ in item.promptLogProbs { request.addInput(prompts.next()!) }
      guard item.samples, let sample = samples.next() else { continue }
      guard sample.isValid else {
        fail(item, EngineError("The logits hold no finite number to sample; check the weights, the dtype and logit_bias."))
        sampled.append(SampledToken(0))
        continue
      }
      let stopString = request.append(sample.token, sample.logProbs, weightVersion: weightVersion)
      sampled.append(SampledToken(sample.token, stopString: stopString))
    }
    generatedTokens += sampled.count
    apply(scheduler.complete(sampled))
    for item in plan.items where item.samples { live[item.id]?.report() }
  }

  private func fail(_ plan: BatchPlan, _ error: any Error) {
    for item in plan.items { fail(item, error) }
    apply(scheduler.complete(plan.items.filter(\.samples).map { _ in SampledToken(0) }))
  }

  /// Ends a request of the batch in flight with an error; the scheduler lets it go when the batch is complete.
  private func fail(_ item: BatchPlan.Item, _ error: any Error) {
    live.removeValue(forKey: item.id)?.mailbox.end(
      .failure(EngineError("The engine failed while it ran this request: \(error)")))
    apply(scheduler.abort(item.id))
  }
}

/// Which tokens of a batch need logits.
private struct LogitRows {
  /// The last token of each item that samples.
  var sampled: [Int] = []
  /// The token before each prompt position whose log-probability is wanted.
  var prompt: [Int] = []

  init(_ plan: BatchPlan) {
    var start = 0
    for item in plan.items {
      if item.samples { sampled.append(start + item.tokens.count - 1) }
      prompt += item.promptLogProbs.map { start + $0 - 1 - item.start }
      start += item.tokens.count
    }
  }
}
