import Synchronization

/// Where the engine leaves the latest output of one request for its consumer.
///
/// Outputs are cumulative, so only a waiting consumer is given one and no queue of them ever forms; one that asks for the
/// end alone is left in peace until then.
final class Mailbox: Sendable {
  private struct State {
    var waiter: CheckedContinuation<GenerateOutput?, any Error>?
    var latest: GenerateOutput?
    var error: (any Error)?
    var isOver = false
  }

  private let state = Mutex(State())
  private let wantsUpdates: Bool

  init(wantsUpdates: Bool) { self.wantsUpdates = wantsUpdates }

  /// Whether somebody waits for an update.
  var isWaiting: Bool { wantsUpdates && state.withLock { $0.waiter != nil } }
  var isOver: Bool { state.withLock { $0.isOver } }

  /// Leaves an update that is not the last.
  func post(_ output: GenerateOutput) {
    guard wantsUpdates else { return }
    state.withLock { state -> CheckedContinuation<GenerateOutput?, any Error>? in
      guard !state.isOver else { return nil }
      if state.waiter == nil { state.latest = output }
      return state.waiter.take()
    }?.resume(returning: output)
  }

  /// Leaves the last output, or why there is none; nil: the consumer has gone. Only the first end counts.
  func end(_ result: Result<GenerateOutput?, any Error>) {
    state.withLock { state -> CheckedContinuation<GenerateOutput?, any Error>? in
      guard !state.isOver else { return nil }
      state.isOver = true
      guard let waiter = state.waiter.take() else {
        switch result {
        case .success(let output): state.latest = output
        case .failure(let error): (state.latest, state.error) = (nil, error)
        }
        return nil
      }
      return waiter
    }?.resume(with: result)
  }

  /// The next update; nil after the last.
  func next() async throws -> GenerateOutput? {
    try await withCheckedThrowingContinuation { continuation in
      let ready = state.withLock { state -> Result<GenerateOutput?, any Error>? in
        if let error = state.error.take() { return .failure(error) }
        if let latest = state.latest.take() { return .success(latest) }
        if state.isOver { return .success(nil) }
        state.waiter = continuation
        return nil
      }
      if let ready { continuation.resume(with: ready) }
    }
  }
}

/// Held by the consumer's side of a stream: when it goes, so does the request.
final class StreamHandle: Sendable {
  let mailbox: Mailbox
  private let cancel: @Sendable () -> Void

  init(_ mailbox: Mailbox, cancel: @escaping @Sendable () -> Void) { (self.mailbox, self.cancel) = (mailbox, cancel) }

  deinit { stop() }

  /// Ends the request unless it is over.
  func stop() {
    guard !mailbox.isOver else { return }
    mailbox.end(.success(nil))
    cancel()
  }

  func next() async throws -> GenerateOutput? {
    try await withTaskCancellationHandler { try await mailbox.next() } onCancel: { stop() }
  }
}
