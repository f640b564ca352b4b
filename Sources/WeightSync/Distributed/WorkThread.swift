import Foundation

/// A thread that owns a state and does one thing after another with it. It ends with the last reference to it, after
/// what it is doing.
final class WorkThread<State>: Sendable {
  private let jobs = Jobs<State>()

  init(_ name: String, _ state: @escaping @Sendable () -> State) {
    let thread = Thread { [jobs] in
      let state = state()
      while let job = jobs.next() { job(state) }
    }
    thread.name = name
    thread.stackSize = 8 << 20
    thread.start()
  }

  deinit { jobs.close() }

  func run<R: Sendable>(_ body: @escaping @Sendable (State) throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { continuation in
      jobs.add { state in continuation.resume(with: Result { try body(state) }) }
    }
  }
}

private final class Jobs<State>: @unchecked Sendable {
  typealias Job = @Sendable (State) -> Void

  private let condition = NSCondition()
  private var jobs: [Job] = []
  private var isClosed = false

  func add(_ job: @escaping Job) {
    condition.withLock {
      jobs.append(job)
      condition.signal()
    }
  }

  func close() {
    condition.withLock {
      isClosed = true
      condition.signal()
    }
  }

  /// nil when it is closed and nothing is left.
  func next() -> Job? {
    condition.withLock {
      while jobs.isEmpty, !isClosed { condition.wait() }
      return jobs.isEmpty ? nil : jobs.removeFirst()
    }
  }
}
