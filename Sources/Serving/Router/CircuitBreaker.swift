/// Keeps requests from a worker that fails again and again: closed lets all pass; open none, for a while; half open lets
/// them pass until a few succeed, which closes it, or one fails, which opens it again.
public struct CircuitBreaker: Sendable {
  package enum State: Int, Sendable, Equatable { case closed = 0, open, halfOpen }

  /// Names and defaults are sglang_router's.
  public struct Limits: Sendable, Equatable, Codable {
    /// Failures within the window that open it.
    public var failureThreshold = 10
    /// Successes in a row that close it.
    public var successThreshold = 3
    public var openSeconds = 60.0
    public var windowSeconds = 120.0

    public init() {}
  }

  private let limits: Limits
  private var failures: [ContinuousClock.Instant] = []
  private var successes = 0
  private var openedAt: ContinuousClock.Instant?

  package init(_ limits: Limits) { self.limits = limits }

  package func state(at time: ContinuousClock.Instant) -> State {
    guard let openedAt else { return .closed }
    return time - openedAt < .seconds(limits.openSeconds) ? .open : .halfOpen
  }

  package mutating func succeeded(at time: ContinuousClock.Instant) {
    guard state(at: time) == .halfOpen else { return }
    successes += 1
    if successes >= limits.successThreshold { self = CircuitBreaker(limits) }
  }

  package mutating func failed(at time: ContinuousClock.Instant) {
    switch state(at: time) {
    case .open: return
    case .halfOpen: (openedAt, successes) = (time, 0)
    case .closed:
      failures.append(time)
      let window = Duration.seconds(limits.windowSeconds)
      failures.removeAll { time - $0 > window }
      if failures.count >= limits.failureThreshold { (openedAt, successes, failures) = (time, 0, []) }
    }
  }
}
