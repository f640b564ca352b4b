import Inference

extension EngineStatus {
  /// Of engines of the same model together: what they hold and do is added up, what they are is the first one's.
  init(of engines: [EngineStatus]) {
    self = engines[0]
    for other in engines.dropFirst() {
      maxRunningRequests += other.maxRunningRequests
      runningRequests += other.runningRequests
      waitingRequests += other.waitingRequests
      totalPages += other.totalPages
      freePages += other.freePages
      evictablePages += other.evictablePages
      generatedTokens += other.generatedTokens
      promptTokensTotal += other.promptTokensTotal
      cachedTokensTotal += other.cachedTokensTotal
      evictedTokensTotal += other.evictedTokensTotal
      retractedTotal += other.retractedTotal
      guard let more = other.speculation else { continue }
      speculation?.verifications += more.verifications
      speculation?.proposedDrafts += more.proposedDrafts
      speculation?.correctDrafts += more.correctDrafts
    }
  }
}
