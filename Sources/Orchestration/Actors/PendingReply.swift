import Synchronization

/// A reply that is awaited once and decided once, by whoever comes first.
final class PendingReply: Sendable {
  private enum State {
    case idle
    case waiting(UnsafeContinuation<ActorReply, any Error>)
    case finished((any Error)?)
  }

  private let state = Mutex(State.idle)

  /// False if it was decided (cancelled) before.
  func wait(_ continuation: UnsafeContinuation<ActorReply, any Error>) -> Bool {
    let error: (any Error)? = state.withLock { state in
      if case .finished(let error) = state { return error }
      state = .waiting(continuation)
      return nil
    }
    if let error { continuation.resume(throwing: error) }
    return error == nil
  }

  /// True if this decided it.
  @discardableResult
  func finish(_ result: sending Result<ActorReply, any Error>) -> Bool {
    var error: (any Error)?
    if case .failure(let failure) = result { error = failure }
    let continuation: UnsafeContinuation<ActorReply, any Error>? = state.withLock { state in
      defer { if case .finished = state {} else { state = .finished(error) } }
      if case .waiting(let continuation) = state { return continuation }
      return nil
    }
    continuation?.resume(with: result)
    return continuation != nil
  }
}
