/// The limits a `Scheduler` works within.
public struct SchedulerConfiguration: Sendable, Equatable, Codable {
  /// Tokens a KV page holds.
  public var pageSize: Int
  public var totalPages: Int
  /// Most tokens of prompt and response together.
  public var contextLength: Int
  public var vocabularySize: Int
  public var endOfSequence: Set<Int>
  public var maxRunningRequests: Int
  /// Most tokens one batch runs, over all its requests (SGLang's chunked prefill size).
  public var maxBatchTokens: Int
  /// Scales how much of their `max_new_tokens` running requests are expected to use (SGLang's schedule conservativeness).
  public var conservativeness: Double
  public var policy: SchedulePolicy
  /// Whether every request computes its whole prompt.
  public var disableRadixCache: Bool
  /// A request waits while a running one computes at least so many tokens, in whole pages, that it would compute too
  /// (SGLang's in-batch prefix caching threshold).
  public var deferralThreshold: Int
  /// Adapters that running requests may use.
  public var maxAdaptersPerBatch: Int
  /// Places for the states that the model keeps of requests, which hold for all tokens so far and for no prefix of them: one
  /// for each running request, the others for cached prefixes; nil: it keeps none. With states there can be no drafts.
  public var stateSlots: Int?

  public init(
    pageSize: Int = 16, totalPages: Int, contextLength: Int, vocabularySize: Int, endOfSequence: Set<Int> = [],
    maxRunningRequests: Int = 256, maxBatchTokens: Int = 2048, conservativeness: Double = 1, policy: SchedulePolicy = .fcfs,
    disableRadixCache: Bool = false, deferralThreshold: Int = 32, maxAdaptersPerBatch: Int = .max,
    stateSlots: Int? = nil
  ) {
    (self.pageSize, self.totalPages) = (pageSize, totalPages)
    (self.contextLength, self.vocabularySize, self.endOfSequence) = (contextLength, vocabularySize, endOfSequence)
    (self.maxRunningRequests, self.maxBatchTokens) = (maxRunningRequests, maxBatchTokens)
    (self.conservativeness, self.policy) = (conservativeness, policy)
    (self.disableRadixCache, self.deferralThreshold) = (disableRadixCache, deferralThreshold)
    (self.maxAdaptersPerBatch, self.stateSlots) = (maxAdaptersPerBatch, stateSlots)
  }

  /// Tokens that the KV cache holds in all.
  public var tokenCapacity: Int { pageSize * totalPages }

  /// When the response to a request ends; `Scheduler` and `OutputBuilder` must work with the same.
  public func stopCondition(for request: GenerateRequest) -> StopCondition {
    StopCondition(
      request.sampling, promptTokens: request.tokens.count, contextLength: min(contextLength, tokenCapacity),
      endOfSequence: endOfSequence)
  }

  /// Pages that `tokens` tokens fill.
  func pages(for tokens: Int) -> Int { (tokens + pageSize - 1) / pageSize }

  /// - Throws: one sentence about the first limit that cannot be worked within.
  public func validate() throws(InvalidSchedulerConfiguration) {
    let positive = [
      ("page size", pageSize), ("number of KV pages", totalPages), ("context length", contextLength),
      ("vocabulary size", vocabularySize), ("limit of running requests", maxRunningRequests),
      ("threshold for waiting for a prefix", deferralThreshold), ("limit of adapters in a batch", maxAdaptersPerBatch),
    ]
    for (name, value) in positive where value < 1 {
      throw InvalidSchedulerConfiguration(description: "The \(name) must be at least 1, got \(value).")
    }
    guard maxBatchTokens >= maxRunningRequests else {
      throw InvalidSchedulerConfiguration(
        description: "A batch of at most \(maxBatchTokens) tokens cannot give each of \(maxRunningRequests) running "
          + "requests one; raise the chunked prefill size or lower the limit of running requests.")
    }
    if let stateSlots, stateSlots < maxRunningRequests {
      throw InvalidSchedulerConfiguration(
        description: "There are places for the states of \(stateSlots) requests, and \(maxRunningRequests) may run; lower the "
          + "limit of running requests.")
    }
    guard conservativeness > 0, conservativeness.isFinite else {
      throw InvalidSchedulerConfiguration(
        description: "The schedule conservativeness must be positive and finite, got \(conservativeness).")
    }
  }
}

public struct InvalidSchedulerConfiguration: Error, Equatable, CustomStringConvertible {
  public var description: String
}
