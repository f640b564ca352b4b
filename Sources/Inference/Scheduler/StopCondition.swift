/// When a response ends, as far as its tokens tell; stop strings are `OutputBuilder`'s.
///
/// As in SGLang, the length is looked at first (a stop token sampled as the last allowed token ends with `length`), and
/// `ignore_eos` ignores `stop_token_ids` as well as the end-of-sequence tokens.
public struct StopCondition: Sendable, Equatable {
  /// `max_new_tokens`, or fewer where the context, or the KV cache, ends before.
  public let maxNewTokens: Int
  private let minNewTokens: Int
  private let stopTokens: Set<Int>
  private let ignoresStopTokens: Bool

  /// - Parameter contextLength: most tokens of prompt and response together.
  public init(_ sampling: SamplingParameters, promptTokens: Int, contextLength: Int, endOfSequence: Set<Int>) {
    maxNewTokens = max(0, min(sampling.maxNewTokens ?? .max, contextLength - promptTokens))
    minNewTokens = sampling.minNewTokens
    stopTokens = endOfSequence.union(sampling.stopTokenIDs)
    ignoresStopTokens = sampling.ignoreEOS
  }

  /// Why the response ends with `token`, its `outputCount`-th; nil when it goes on.
  public func reason(outputCount: Int, token: Int) -> FinishReason? {
    if outputCount >= maxNewTokens { return .length(maxNewTokens) }
    return !ignoresStopTokens && stopTokens.contains(token) ? .stopToken(token) : nil
  }

  /// The same, with what the text and the grammar say.
  func reason(outputCount: Int, sampled: SampledToken) -> FinishReason? {
    reason(outputCount: outputCount, token: sampled.token) ?? sampled.stopString.map(FinishReason.stopString)
      ?? (sampled.isLast ? .stopToken(sampled.token) : nil)
  }

  /// Tokens that must not be sampled after `outputCount` tokens (`min_new_tokens`).
  public func forbiddenTokens(outputCount: Int) -> Set<Int> { outputCount < minNewTokens ? stopTokens : [] }
}
