import Orchestration
import Serving

extension RoutingPolicyKind: FlagValue {}

extension Duration {
  /// As flags say it.
  fileprivate var inSeconds: Double {
    get { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
    set { self = .seconds(newValue) }
  }

  fileprivate var inMilliseconds: Double {
    get { inSeconds * 1000 }
    set { inSeconds = newValue / 1000 }
  }
}

extension RouterConfiguration {
  /// The names are sglang_router's.
  package static let flags = FlagSet<Self>([
    (
      "Router",
      [
        .list("worker-urls", \.workerURLs, "URL", "engines' servers, http://host:port each; POST /workers adds more"),
        .option("policy", \.policy, "how a worker is chosen"),
        .option("host", \.host, "ADDRESS", "address to listen on"),
        .option("port", \.port, "port to listen on; 0: any free one"),
        .option("api-key", \.apiKey, "KEY", "bearer token that requests must carry; default none"),
        .option("control-plane-api-key", \.adminAPIKey, "KEY", "for routes that control workers; default --api-key"),
        .option("worker-api-key", \.workerAPIKey, "KEY", "sent to workers; default the client's own"),
        .option("max-concurrent-requests", \.maxConcurrentRequests, "more are answered with 503"),
        .option("max-payload-size", \.maxPayloadBytes, "BYTES", "of a request's body"),
        .option("request-timeout-secs", \.requestTimeout.inSeconds, "of a whole request"),
      ]
    ),
    (
      "Policy cache_aware",
      [
        .option("cache-threshold", \.cacheAware.cacheThreshold, "share of the prompt that a worker must have seen"),
        .option("balance-abs-threshold", \.cacheAware.balanceAbsThreshold, "requests between the loads from which on …"),
        .option("balance-rel-threshold", \.cacheAware.balanceRelThreshold, "… and this factor, the least loaded is chosen"),
        .option("max-tree-size", \.cacheAware.maxTreeSize, "tokens, or bytes of text, of prompts to remember"),
      ]
    ),
    (
      "Failures",
      [
        .option("max-retries", \.maxRetries, "attempts after the first, before anything is answered"),
        .option("retry-max-retries", \.maxRetries, "the same"),
        .option("retry-initial-backoff-ms", \.initialBackoff.inMilliseconds, "wait before the second attempt"),
        .option("retry-max-backoff-ms", \.maxBackoff.inMilliseconds, "longest wait"),
        .option("retry-backoff-multiplier", \.backoffMultiplier, "each wait is this many times the one before"),
        .option("cb-failure-threshold", \.circuitBreaker.failureThreshold, "failures that keep requests from a worker"),
        .option("cb-success-threshold", \.circuitBreaker.successThreshold, "successes that end that"),
        .option("cb-timeout-duration-secs", \.circuitBreaker.openSeconds, "until it is tried again"),
        .option("cb-window-duration-secs", \.circuitBreaker.windowSeconds, "in which failures count"),
        .toggle("disable-circuit-breaker", \.circuitBreakerDisabled, "choose failing workers like others"),
        .option("health-check-interval-secs", \.healthCheckInterval.inSeconds, "between looks at a worker"),
        .option("health-check-timeout-secs", \.healthCheckTimeout.inSeconds, "of a look"),
        .option("health-failure-threshold", \.healthFailureThreshold, "failed looks that take a worker out"),
        .option("health-success-threshold", \.healthSuccessThreshold, "good looks that put it back"),
        .toggle("disable-health-check", \.healthCheckDisabled, "never look"),
        .option("worker-startup-timeout-secs", \.workerStartupTimeout.inSeconds, "that --worker-urls may take to come up"),
        .option("worker-startup-check-interval", \.workerStartupInterval.inSeconds, "seconds between looks at them"),
      ]
    ),
  ])

  package func validate() throws(ConfigurationError) {
    let positive: [(String, Bool)] = [
      ("request-timeout-secs", requestTimeout > .zero), ("max-concurrent-requests", maxConcurrentRequests > 0),
      ("max-payload-size", maxPayloadBytes > 0), ("max-tree-size", cacheAware.maxTreeSize > 0),
      ("retry-backoff-multiplier", backoffMultiplier > 0), ("cb-failure-threshold", circuitBreaker.failureThreshold > 0),
      ("cb-success-threshold", circuitBreaker.successThreshold > 0), ("health-check-interval-secs", healthCheckInterval > .zero),
      ("health-check-timeout-secs", healthCheckTimeout > .zero), ("health-failure-threshold", healthFailureThreshold > 0),
      ("health-success-threshold", healthSuccessThreshold > 0),
      ("worker-startup-check-interval", workerStartupInterval > .zero),
    ]
    for (flag, holds) in positive where !holds { throw ConfigurationError("--\(flag) must be above 0") }
    if maxRetries < 0 { throw ConfigurationError("--max-retries must not be negative, not \(maxRetries)") }
    if !(0...1).contains(cacheAware.cacheThreshold) {
      throw ConfigurationError("--cache-threshold must be a share from 0 to 1, not \(cacheAware.cacheThreshold)")
    }
    if !(0...65535).contains(port) {
      throw ConfigurationError("--port must be between 0 (any free one) and 65535, not \(port)")
    }
  }
}

extension Command {
  static let router = Command(
    name: "router", summary: "share requests among several engines' servers",
    usage: "slime router --worker-urls URL… [--policy NAME] [--port N] [flags]",
    flags: RouterConfiguration.flags, configuration: RouterConfiguration()
  ) { configuration in
    try configuration.validate()
    try await Run.router(configuration)
  }
}
