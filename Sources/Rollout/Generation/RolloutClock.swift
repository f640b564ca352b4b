import Synchronization

/// How long something was generated, and how long nothing was but rewards were waited for.
final class RolloutClock: Sendable {
  private struct State {
    var generating = 0
    var scoring = 0
    /// When one of them changed.
    var since = ContinuousClock.now
    var generation = Duration.zero
    var reward = Duration.zero

    mutating func change(_ count: WritableKeyPath<State, Int>, by number: Int) {
      let now = ContinuousClock.now
      if generating > 0 { generation += now - since } else if scoring > 0 { reward += now - since }
      since = now
      self[keyPath: count] += number
    }
  }

  private let state = Mutex(State())

  func generating<R>(_ body: () async throws -> R) async rethrows -> R {
    state.withLock { $0.change(\.generating, by: 1) }
    defer { state.withLock { $0.change(\.generating, by: -1) } }
    return try await body()
  }

  func scoring<R>(_ body: () async throws -> R) async rethrows -> R {
    state.withLock { $0.change(\.scoring, by: 1) }
    defer { state.withLock { $0.change(\.scoring, by: -1) } }
    return try await body()
  }

  /// Seconds until now.
  var seconds: (generation: Double, reward: Double) {
    state.withLock { state in
      state.change(\.generating, by: 0)
      return (state.generation / .seconds(1), state.reward / .seconds(1))
    }
  }
}
