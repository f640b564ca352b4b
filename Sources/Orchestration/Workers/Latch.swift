import Synchronization

/// A value that is set once and awaited by any number of tasks.
final class Latch<Value: Sendable>: Sendable {
  private struct State {
    var value: Value?
    var waiters: [UnsafeContinuation<Value, Never>] = []
  }

  private let state = Mutex(State())

  var value: Value? { state.withLock(\.value) }

  /// Sets the value unless it is set; true if this did.
  @discardableResult
  func set(_ value: Value) -> Bool {
    let waiters: [UnsafeContinuation<Value, Never>]? = state.withLock { state in
      guard state.value == nil else { return nil }
      state.value = value
      defer { state.waiters = [] }
      return state.waiters
    }
    for waiter in waiters ?? [] { waiter.resume(returning: value) }
    return waiters != nil
  }

  func wait() async -> Value {
    await withUnsafeContinuation { continuation in
      let value = state.withLock { state in
        if state.value == nil { state.waiters.append(continuation) }
        return state.value
      }
      if let value { continuation.resume(returning: value) }
    }
  }
}
