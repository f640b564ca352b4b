import Synchronization

/// Adds up how long the parts of a step take.
public final class Timers: Sendable {
  private let clock = ContinuousClock()
  private let state = Mutex<(names: [String], seconds: [String: Double])>(([], [:]))

  public init() {}

  /// Runs `body` and adds its duration to `name`.
  @discardableResult
  public func measure<R>(_ name: String, _ body: () throws -> R) rethrows -> R {
    let start = clock.now
    defer { add(clock.now - start, to: name) }
    return try body()
  }

  @discardableResult
  public func measure<R>(
    _ name: String, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> R
  ) async rethrows -> R {
    let start = clock.now
    defer { add(clock.now - start, to: name) }
    return try await body()
  }

  public func add(_ duration: Duration, to name: String) {
    let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
    state.withLock { state in
      if state.seconds[name] == nil { state.names.append(name) }
      state.seconds[name, default: 0] += seconds
    }
  }

  /// What was measured since the last call, in seconds, as `perf/{name}_time`.
  public func take() -> Metrics {
    state.withLock { state in
      defer { state = ([], [:]) }
      var metrics = Metrics()
      for name in state.names { metrics["perf/\(name)_time"] = state.seconds[name] }
      return metrics
    }
  }
}
