/// A live request as the scheduler sees it.
///
///     position  0 ............... computed ........... scheduled ............ tokens.count + awaitedSamples
///               [ KV is in pages )[ run by batches     )[ still to be run    )
///               [                )[ in flight          )[                    )
///     page      0 ..... shared ......... pages.count
///               [ the   )[ owned by this request     )
///               [ cache's
///
/// The pages cover at least the computed positions and those of the batch in flight. The shared ones belong to the radix
/// tree, locked through `node` while the request runs, and are never written. `PrefixCache` alone moves the borders.
struct ScheduledRequest: Sendable, Equatable {
  let id: String
  /// Higher goes first, and those of equal priority in order of arrival.
  let priority: Int
  let arrival: Int
  let namespace: CacheNamespace
  /// The number of the adapter that it uses.
  var adapter: Int? { namespace.adapter }
  let promptCount: Int
  let stop: StopCondition
  let ignoresEndOfSequence: Bool
  /// Prompt and response.
  var tokens: [Int]
  /// What stands for the prompt's tokens in the cache; nil: they themselves.
  private let promptKeys: [Int]?
  /// What stands for `tokens` in the cache.
  var keys: [Int] { promptKeys.map { $0 + tokens.dropFirst(promptCount) } ?? tokens }
  /// Positions whose KV is in `pages`.
  var computed = 0
  /// Tokens that batches in flight run.
  var inFlight = 0
  /// Tokens of the response that batches in flight sample.
  var awaitedSamples = 0
  var pages: [Int] = []
  /// Where the model keeps its states; nil: not admitted, or it keeps none.
  var stateSlot: Int?
  /// Until it runs, where those after the tokens are that it shares; nil: nowhere.
  var sharedStates: Int?
  /// Where a batch in flight copies its states to, for the prefix that it announced.
  var stateCopy: Int?
  /// Leading pages that are the radix tree's.
  var shared = 0
  /// The tree's node that ends with them; nil: not admitted, or there is no tree.
  var node: Int?
  /// The tree's generation when this request was admitted last; what it computes is of no use to a later one.
  var generation = -1
  /// Numbers of the whole pages of `tokens`, as far as they were looked at.
  var prefixes: PagePrefixes
  /// Pages that others wait for.
  var announced = 0..<0
  /// While waiting: the number of a prefix that a running request computes and this one is going to share.
  var awaited: UInt64?
  /// Whether its prompt was counted.
  var hasStarted = false
  /// First prompt position whose log-probability is wanted and was not computed yet.
  var nextPromptLogProb: Int
  /// First position of which more than the token is wanted, its experts or its hidden state; nil: none.
  let reportStart: Int?
  /// Positions of which that was reported.
  var reportedCount = 0
  /// Set while a batch with this request is in flight: how it ends when the batch is complete.
  var abortMessage: String?

  init(_ request: GenerateRequest, adapter: Int? = nil, arrival: Int, configuration: SchedulerConfiguration) {
    (id, self.arrival, tokens, promptCount) = (request.id, arrival, request.tokens, request.tokens.count)
    promptKeys = request.cacheKeys
    (priority, reportStart) = (request.priority ?? 0, request.reportStart)
    namespace = CacheNamespace(extraKey: request.extraKey, cacheSalt: request.cacheSalt, adapter: adapter)
    prefixes = PagePrefixes(pageSize: configuration.pageSize, namespace: namespace)
    if !configuration.disableRadixCache { prefixes.extend(over: request.cacheKeys ?? request.tokens) }
    ignoresEndOfSequence = request.sampling.ignoreEOS
    stop = configuration.stopCondition(for: request)
    nextPromptLogProb = request.returnLogProbs ? max(1, request.logProbStart ?? promptCount) : promptCount
  }

  /// Whether this request is to be served before another.
  func precedes(_ other: ScheduledRequest) -> Bool { (other.priority, arrival) < (priority, other.arrival) }

  /// Tokens of the response that are known.
  var outputCount: Int { tokens.count - promptCount }
  /// Tokens that are known or sampled by batches in flight.
  var tokenCount: Int { tokens.count + awaitedSamples }
  var scheduled: Int { computed + inFlight }
  var remainingNewTokens: Int { stop.maxNewTokens - (tokenCount - promptCount) }
  /// Tokens to run before the next one can be sampled. None when a batch in flight samples the last.
  var pendingCount: Int { awaitedSamples > 0 && remainingNewTokens <= 0 ? 0 : tokenCount - scheduled }
  var isDecoding: Bool { pendingCount == 1 && tokenCount > promptCount }

  /// What a batch that runs the next `count` tokens does for this request.
  /// - Parameters:
  ///   - sampleRow: where the batch in flight samples the last token of this request.
  ///   - copiesStates: whether they are to be copied to `stateCopy` then.
  func item(count: Int, sampleRow: Int? = nil, copiesStates: Bool = false) -> BatchPlan.Item {
    let end = scheduled + count
    let first = max(scheduled + 1, nextPromptLogProb)
    let isAwaited = end > tokens.count
    return BatchPlan.Item(
      id: id, start: scheduled, tokens: isAwaited ? [0] : Array(tokens[scheduled..<end]), pages: pages,
      samples: end == tokenCount && stop.maxNewTokens > 0,
      promptLogProbs: first..<max(first, min(end + 1, promptCount)), sampledToken: isAwaited ? sampleRow! : nil,
      adapter: adapter,
      states: stateSlot.map { .init(own: $0, before: sharedStates ?? $0, copy: copiesStates ? stateCopy : nil) })
  }
}

extension GenerateRequest {
  /// First position whose hidden state is wanted.
  var hiddenStatesStart: Int? { hiddenStates.map { $0 == .all ? 0 : tokens.count - 1 } }

  fileprivate var reportStart: Int? { [routedExpertsStart, hiddenStatesStart].compactMap { $0 }.min() }
}
