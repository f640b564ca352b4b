/// Where a response stands, as far as its next token depends on it beside the logits.
///
/// A value: a copy can be taken along a draft, and what it says there is what the response itself will say if the draft
/// proves right.
package struct ResponseState {
  let stop: StopCondition
  private let promptCount: Int
  private var sampling: SamplingState
  /// nil: the response is free.
  private var constraint: GrammarConstraint?
  private(set) var outputCount = 0

  init(_ request: GenerateRequest, seed: Int, stop: StopCondition, constraint: GrammarConstraint?) {
    (self.stop, self.constraint, promptCount) = (stop, constraint, request.tokens.count)
    sampling = SamplingState(request.sampling, seed: seed, prompt: request.tokens)
  }

  /// Whether the next token depends on those before beside the logits.
  var needsTokens: Bool { sampling.countsOutput || constraint != nil }

  /// What the sampler needs for the next token.
  /// - Parameter awaited: tokens before it that are not known yet; only where `needsTokens` is false.
  package func row(awaited: Int = 0, logProbs: LogProbRequest? = nil) -> Sampler.Row {
    let outputCount = outputCount + awaited
    let allowed = constraint?.allowed
    // The end may come before `min_new_tokens` where the grammar leaves nothing else.
    let forbidden = allowed?.isEnd == true ? [] : stop.forbiddenTokens(outputCount: outputCount)
    return Sampler.Row(
      sampling, position: promptCount + outputCount, forbidden: forbidden, logProbs: logProbs, allowed: allowed)
  }

  /// Takes the next token.
  /// - Returns: whether the grammar has no more after it.
  package mutating func append(_ token: Int) -> Bool {
    outputCount += 1
    sampling.append(token)
    return constraint?.append(token) ?? false
  }

  /// Takes the next token if it may come and the response may go on after it; otherwise drafting it is of no use, since
  /// the token that follows would never be wanted.
  package mutating func continues(with token: Int) -> Bool {
    guard stop.reason(outputCount: outputCount + 1, token: token) == nil,
      !stop.forbiddenTokens(outputCount: outputCount).contains(token)
    else { return false }
    return !append(token)
  }
}
