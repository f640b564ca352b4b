/// Where a `RouterServer` listens, and how it serves. Defaults are sglang_router's.
public struct RouterConfiguration: Sendable {
  public var host = "127.0.0.1"
  /// 0 takes any free port.
  public var port = 30000
  public var workerURLs: [String] = []
  public var policy = RoutingPolicyKind.cacheAware
  public var cacheAware = CacheAwareLimits()
  /// When set, every route but the health checks and the metrics wants it; routes that control the router or its workers want
  /// the admin key where there is one.
  public var apiKey: String?
  public var adminAPIKey: String?
  /// Sent to the workers as their key; nil: the client's own header is passed on.
  public var workerAPIKey: String?

  /// Whole requests, from the first byte to the last.
  public var requestTimeout: Duration = .seconds(1800)
  public var connectTimeout: Duration = .seconds(5)
  /// Requests at a time; more are answered with 503.
  public var maxConcurrentRequests = 16384
  public var maxPayloadBytes = 256 << 20
  /// An answer that is no stream.
  public var maxAnswerBytes = 1 << 30

  /// Attempts after the first, of a request of which the client has seen nothing yet.
  public var maxRetries = 5
  public var initialBackoff: Duration = .milliseconds(50)
  public var maxBackoff: Duration = .seconds(30)
  public var backoffMultiplier = 1.5

  public var circuitBreaker = CircuitBreaker.Limits()
  public var circuitBreakerDisabled = false

  public var healthCheckInterval: Duration = .seconds(60)
  public var healthCheckTimeout: Duration = .seconds(5)
  /// Checks in a row that take a worker out, and that put it back.
  public var healthFailureThreshold = 3
  public var healthSuccessThreshold = 2
  public var healthCheckDisabled = false

  /// How long workers given at the start may take to come up, and how often they are looked at.
  public var workerStartupTimeout: Duration = .seconds(1800)
  public var workerStartupInterval: Duration = .seconds(2)
  /// How long running requests may go on once the router is told to stop.
  public var drainTimeout: Duration = .seconds(5)

  public init() {}

  /// How long to wait before attempt `number` from 1 on, up to a fifth more or less.
  func backoff(_ number: Int) -> Duration {
    var wait = initialBackoff.seconds
    for _ in 1..<max(1, number) { wait = min(wait * backoffMultiplier, maxBackoff.seconds) }
    return .seconds(min(wait, maxBackoff.seconds) * Double.random(in: 0.8...1.2))
  }
}
