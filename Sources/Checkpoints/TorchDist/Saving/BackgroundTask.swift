import Foundation
import Synchronization

/// Work on a thread of its own, whose result, or error, is fetched later.
///
/// For work that blocks, such as writing files, which must never run on Swift's cooperative threads.
public final class BackgroundTask<Value: Sendable>: Sendable {
  private enum State {
    case running([CheckedContinuation<Value, any Error>])
    case done(Result<Value, any Error>)
  }

  private let state = Mutex(State.running([]))
  private let finished = DispatchSemaphore(value: 0)

  public init(_ name: String, _ body: sending @escaping () throws -> Value) {
    let work = Work(body: body)
    let thread = Thread { [self] in end(work.run()) }
    thread.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
    thread.stackSize = 8 << 20
    thread.start()
  }

  /// Whether the result is there, so that `wait` returns at once.
  public var isFinished: Bool { state.withLock { if case .done = $0 { true } else { false } } }

  /// Blocks until the work has ended; returns its result or throws its error, at every call the same. For threads that
  /// may block.
  public func wait() throws -> Value {
    finished.wait()
    // The next one who waits goes on as well.
    finished.signal()
    return try state.withLock { state in
      guard case .done(let result) = state else { preconditionFailure("a task was announced before its end") }
      return try result.get()
    }
  }

  /// As `wait`, without blocking a thread.
  public var value: Value {
    get async throws {
      try await withCheckedThrowingContinuation { continuation in
        let result = state.withLock { state -> Result<Value, any Error>? in
          switch state {
          case .done(let result): return result
          case .running(let waiting):
            state = .running(waiting + [continuation])
            return nil
          }
        }
        if let result { continuation.resume(with: result) }
      }
    }
  }

  private func end(_ result: Result<Value, any Error>) {
    let waiting = state.withLock { state -> [CheckedContinuation<Value, any Error>] in
      guard case .running(let waiting) = state else { return [] }
      state = .done(result)
      return waiting
    }
    finished.signal()
    for continuation in waiting { continuation.resume(with: result) }
  }

  /// Handed over to the thread, and let go there: what it holds (tensors) is freed when the work ends.
  private final class Work: @unchecked Sendable {
    private var body: (() throws -> Value)?

    init(body: @escaping () throws -> Value) { self.body = body }

    func run() -> Result<Value, any Error> {
      defer { body = nil }
      return Result { try body!() }
    }
  }
}
