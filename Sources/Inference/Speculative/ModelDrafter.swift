import Checkpoints
import Models
import Parallelism
import Torch

/// Drafts what a smaller model with the same vocabulary samples (SGLang's `STANDALONE`).
///
/// It samples each draft as the engine samples the token there: with the same noise, penalties and grammar. Models that
/// agree so draw alike, also at high temperatures. The model has a KV cache of its own, as many pages as the engine's, and
/// keeps prefixes like it; what a response's drafts leave there is used again as far as they prove right.
package final class ModelDrafter: Drafter {
  /// What the model has computed of a response.
  private struct Progress {
    /// Its tokens are those of the response and the drafts of the last call but the last draft.
    var sequence: ScheduledRequest
    /// How many of them are the response's.
    var known: Int
  }

  /// A response for which drafts are being made.
  private struct Work {
    let request: DraftRequest
    var progress: Progress
    var response: ResponseState
    var drafts: [Int] = []
    let limit: Int
    var isDone: Bool
  }

  private let runner: ModelRunner
  private let contextLength: Int
  private let sampler = Sampler()
  private var configuration: SchedulerConfiguration!
  private var cache: PrefixCache!
  private var progress: [String: Progress] = [:]

  /// - Throws: what is wrong with the folder, or that its vocabulary is another one.
  init(_ folder: HuggingFaceFolder, _ options: EngineOptions, vocabularySize: Int) throws {
    let configuration = try ModelRegistry.configuration(of: folder).quantized(nil)
    guard configuration.vocabularySize == vocabularySize else {
      throw EngineError(
        "The draft model in \(folder.url.path) has a vocabulary of \(configuration.vocabularySize) tokens, and the model "
          + "one of \(vocabularySize); choose a draft model with the same.")
    }
    guard configuration.linearAttention == nil else {
      throw EngineError(
        "The draft model in \(folder.url.path) is of type \(configuration.modelType), which keeps states that drafts cannot be "
          + "taken back from; choose one whose layers all have attention.")
    }
    contextLength = configuration.contextLength
    runner = try ModelRunner(
      folder, configuration, dtype: options.dtype ?? configuration.dtype ?? .float32, cacheType: options.cacheType,
      parallel: .single(options.device))
  }

  package var cacheBytesPerToken: Int { KVCache.bytesPerToken(runner.model.configuration, dtype: runner.cacheType) }

  package func prepare(_ configuration: SchedulerConfiguration) throws {
    var own = configuration
    own.contextLength = contextLength
    self.configuration = own
    cache = PrefixCache(own)
    try runner.makeCache(pageCount: own.totalPages, pageSize: own.pageSize)
  }

  // MARK: Drafts

  package func draft(_ requests: [DraftRequest]) throws -> [DraftTree] {
    var work = requests.map(begin)
    let result = Result { while try advance(&work) {} }
    for one in work { progress[one.request.id] = one.progress }
    if case .failure = result { forget() }
    try result.get()
    return work.map { DraftTree(chain: $0.drafts) }
  }

  /// Takes a response up where the last call left it.
  private func begin(_ request: DraftRequest) -> Work {
    var own = progress.removeValue(forKey: request.id) ?? admitted(request)
    let known = own.sequence.tokens.dropFirst(own.known)
    let right = zip(known, request.tokens.dropFirst(own.known)).prefix { $0 == $1 }.count
    // The last token is run in any case, since the first draft follows it; where it was run, it writes what is there.
    own.sequence.computed = min(own.sequence.computed, own.known + right, request.tokens.count - 1)
    (own.sequence.tokens, own.known) = (request.tokens, request.tokens.count)
    let limit = min(request.limit, contextLength - request.tokens.count)
    return Work(request: request, progress: own, response: request.response, limit: limit, isDone: limit <= 0)
  }

  private func admitted(_ request: DraftRequest) -> Progress {
    var sequence = ScheduledRequest(
      GenerateRequest(
        id: request.id, tokens: request.tokens, extraKey: request.namespace.extraKey, cacheSalt: request.namespace.cacheSalt),
      arrival: 0, configuration: configuration)
    cache.admit(&sequence, cache.match(sequence))
    return Progress(sequence: sequence, known: request.tokens.count)
  }

  /// Runs one batch: of each response what the model has not seen, or its latest draft.
  /// - Returns: false when all drafts are made.
  private func advance(_ work: inout [Work]) throws -> Bool {
    var budget = configuration.maxBatchTokens
    var items: [BatchPlan.Item] = []
    var members: [Int] = []
    for i in work.indices where !work[i].isDone && budget > 0 {
      guard let item = item(&work[i].progress.sequence, budget) else {
        work[i].isDone = true
        continue
      }
      budget -= item.tokens.count
      items.append(item)
      members.append(i)
    }
    guard !items.isEmpty else { return false }
    let sampling = zip(members, items).filter(\.1.samples).map(\.0)
    var samples: [Sampler.Sample] = []
    try runner.run(BatchPlan(items: items), images: [], routing: nil, sampled: { logits in
      samples = try sampler.sample(logits.values, sampling.map { work[$0].response.row() }).samples()
      return nil
    }, prompt: { _, _ in })
    for (i, item) in zip(members, items) {
      work[i].progress.sequence.computed = item.end
      cache.share(&work[i].progress.sequence)
    }
    for (i, sample) in zip(sampling, samples) {
      guard sample.isValid, work[i].response.continues(with: sample.token) else {
        work[i].isDone = true
        continue
      }
      work[i].drafts.append(sample.token)
      work[i].isDone = work[i].drafts.count == work[i].limit
      if !work[i].isDone { work[i].progress.sequence.tokens.append(sample.token) }
    }
    return true
  }

  /// The next tokens of a sequence, with pages for them; nil: there are none left.
  private func item(_ sequence: inout ScheduledRequest, _ budget: Int) -> BatchPlan.Item? {
    func missing(_ count: Int) -> Int { configuration.pages(for: sequence.computed + count) - sequence.pages.count }
    let count = min(sequence.pendingCount, budget)
    if missing(count) > cache.availablePages { releaseAll() }
    let room = (sequence.pages.count + cache.availablePages) * configuration.pageSize - sequence.computed
    guard min(count, room) > 0 else { return nil }
    let pages = missing(min(count, room))
    if pages > 0 { sequence.pages += cache.allocate(pages)! }
    return sequence.item(count: min(count, room))
  }

  // MARK: Ends

  package func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {
    if let own = progress.removeValue(forKey: id) { release(own) }
  }

  private func release(_ progress: Progress) {
    var sequence = progress.sequence
    sequence.computed = min(sequence.computed, progress.known)
    cache.release(&sequence)
  }

  /// Of the responses that no drafts are being made for.
  private func releaseAll() {
    for own in progress.values { release(own) }
    progress = [:]
  }

  package func forget() {
    guard cache != nil else { return }
    releaseAll()
    var none: [ScheduledRequest] = []
    cache.forget(&none)
  }

  package func release(_ tags: Set<MemoryTag>) throws { try runner.release(tags, keepsWeights: true) }
  package func resume(_ tags: Set<MemoryTag>) throws { try runner.resume(tags) }

  /// - Throws: `PageAccountingError` when a page of its cache leaked or has two owners.
  package func checkIntegrity() throws { try cache.checkIntegrity(progress.values.map(\.sequence)) }
}
