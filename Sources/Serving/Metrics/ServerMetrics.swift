import Inference
import Synchronization

/// What a server has seen of its requests since it started, under SGLang's names.
final class ServerMetrics: Sendable {
  struct Counts: Sendable {
    var requests = 0
    var aborted = 0
    var promptTokens = 0
    var generatedTokens = 0
    var cachedTokens = 0
    var retractedRequests = 0
    var firstToken = Histogram(bounds: latencyBounds)
    var endToEnd = Histogram(bounds: latencyBounds)
    var betweenTokens = Histogram(bounds: tokenBounds)
    var perOutputToken = Histogram(bounds: tokenBounds)
    var promptLengths = Histogram(bounds: lengthBounds)
    var responseLengths = Histogram(bounds: lengthBounds)
    /// Tokens a second, lately.
    var throughput = Throughput()
  }

  /// Seconds to the first token or the end, seconds between tokens, and tokens, as SGLang's buckets are.
  private static let latencyBounds = [
    0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 20, 40, 60, 80, 100, 200, 400, 600, 1200, 1800, 2400,
  ]
  private static let tokenBounds = [
    0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8,
  ]
  private static let lengthBounds: [Double] = [
    16, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072,
  ]

  private let state = Mutex(Counts())
  let http = HTTPMetrics()

  var counts: Counts { state.withLock { $0 } }

  /// The tokens a second that the engine has generated lately, by its total of now.
  func throughput(generatedTokens: Int) -> Double {
    state.withLock { $0.throughput.note(generatedTokens, at: .now) }
  }

  /// A request has ended.
  /// - Parameter timesTokens: whether the times between its tokens were not measured one by one.
  func finished(_ output: GenerateOutput, timesTokens: Bool) {
    state.withLock { counts in
      counts.requests += 1
      if case .abort = output.finishReason { counts.aborted += 1 }
      counts.promptTokens += output.promptTokens
      counts.generatedTokens += output.outputTokens.count
      counts.cachedTokens += output.cachedTokens
      counts.retractedRequests += output.retractions > 0 ? 1 : 0
      counts.promptLengths.observe(Double(output.promptTokens))
      counts.responseLengths.observe(Double(output.outputTokens.count))
      counts.endToEnd.observe(output.endToEndLatency)
      guard !output.outputTokens.isEmpty else { return }
      counts.firstToken.observe(output.firstTokenLatency)
      let following = output.outputTokens.count - 1
      guard following > 0 else { return }
      let perToken = max(0, output.endToEndLatency - output.firstTokenLatency) / Double(following)
      counts.perOutputToken.observe(perToken)
      if timesTokens { counts.betweenTokens.observe(perToken, times: following) }
    }
  }

  /// Some tokens of a stream came, this long after those before them.
  func tokens(_ count: Int, after interval: Duration) {
    state.withLock { $0.betweenTokens.observe(interval.seconds / Double(count), times: count) }
  }

  /// A request has ended without an output: it was refused, or its client has left.
  func failed() {
    state.withLock { counts in
      counts.requests += 1
      counts.aborted += 1
    }
  }
}

/// Tokens a second over the last seconds in which anybody asked.
struct Throughput: Sendable {
  /// Looks closer together than this are one.
  private static let shortest: Duration = .milliseconds(500)
  private static let longest: Duration = .seconds(10)
  private var start: (time: ContinuousClock.Instant, tokens: Int)?
  private var rate = 0.0

  mutating func note(_ tokens: Int, at time: ContinuousClock.Instant) -> Double {
    guard let start, tokens >= start.tokens, time - start.time <= Self.longest else {
      (start, rate) = ((time, tokens), 0)
      return rate
    }
    let elapsed = time - start.time
    if elapsed >= Self.shortest {
      rate = Double(tokens - start.tokens) / elapsed.seconds
      self.start = (time, tokens)
    }
    return rate
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
