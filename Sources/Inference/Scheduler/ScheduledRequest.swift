/// A live request as the scheduler sees it.
///
///     position  0 ............... computed ............. tokens.count
///               [ KV is in pages )[ still to be run      )
///     page      0 ...................... pages.count
///               [ owned by this request              )
///
/// The pages cover at least the computed positions and those of the batch in flight. With a prefix cache, the interval
/// `[0, shared)` of the pages will be the cache's, locked while the request runs, and `[shared, pages.count)` stay the
/// request's; all pages come back in `Scheduler.releasePages(at:)`, the one place that would then donate them.
struct ScheduledRequest: Sendable, Equatable {
  let id: String
  /// Requests are served in this order.
  let arrival: Int
  let promptCount: Int
  let stop: StopCondition
  let ignoresEndOfSequence: Bool
  /// Prompt and response.
  var tokens: [Int]
  /// Positions whose KV is in `pages`.
  var computed = 0
  var pages: [Int] = []
  /// First prompt position whose log-probability is wanted and was not computed yet.
  var nextPromptLogProb: Int
  /// Set while a batch with this request is in flight: how it ends when the batch is complete.
  var abortMessage: String?

  init(_ request: GenerateRequest, arrival: Int, configuration: SchedulerConfiguration) {
    (id, self.arrival, tokens, promptCount) = (request.id, arrival, request.tokens, request.tokens.count)
    ignoresEndOfSequence = request.sampling.ignoreEOS
    stop = configuration.stopCondition(for: request)
    nextPromptLogProb = request.returnLogProbs ? max(1, request.logProbStart ?? promptCount) : promptCount
  }

  var outputCount: Int { tokens.count - promptCount }
  var remainingNewTokens: Int { stop.maxNewTokens - outputCount }
  /// Tokens to run before the next one can be sampled.
  var pendingCount: Int { tokens.count - computed }
  var isDecoding: Bool { pendingCount == 1 && outputCount > 0 }

  /// What a batch that runs the next `count` tokens does for this request.
  func item(count: Int) -> BatchPlan.Item {
    let end = computed + count
    let first = max(computed + 1, nextPromptLogProb)
    return BatchPlan.Item(
      id: id, start: computed, tokens: Array(tokens[computed..<end]), pages: pages,
      samples: end == tokens.count && stop.maxNewTokens > 0,
      promptLogProbs: first..<max(first, min(end + 1, promptCount)))
  }
}
