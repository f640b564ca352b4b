import Foundation

/// Runs the jobs of actors on one operating system thread of its own.
///
/// For work that blocks (collectives, libtorch calls of seconds) or that belongs to one thread. An actor uses it with
/// ```swift
/// nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }
/// ```
/// The executor has to outlive the actors on it. When it is released the thread finishes what was enqueued and ends.
public final class ThreadExecutor: SerialExecutor {
  private let queue = JobQueue()

  /// - Parameter name: shown by debuggers and `top`; the system keeps its first 15 bytes.
  public init(name: String) {
    let queue = queue
    startThread(name) { queue.run() }
  }

  deinit { queue.close() }

  public func enqueue(_ job: consuming ExecutorJob) {
    queue.append(UnownedJob(job), on: asUnownedSerialExecutor())
  }

  public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }

  public func checkIsolated() {
    precondition(queue.isCurrentThread, "this runs on another thread than the one of its executor")
  }
}

private final class JobQueue: @unchecked Sendable {
  private let condition = NSCondition()
  private var jobs: [(job: UnownedJob, executor: UnownedSerialExecutor)] = []
  private var thread: pthread_t?
  private var isClosed = false

  var isCurrentThread: Bool {
    condition.withLock { thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }
  }

  func append(_ job: UnownedJob, on executor: UnownedSerialExecutor) {
    condition.withLock {
      jobs.append((job, executor))
      condition.signal()
    }
  }

  func close() {
    condition.withLock {
      isClosed = true
      condition.signal()
    }
  }

  func run() {
    condition.withLock { thread = pthread_self() }
    while true {
      condition.lock()
      while jobs.isEmpty && !isClosed { condition.wait() }
      let batch = jobs
      jobs = []
      condition.unlock()
      if batch.isEmpty { return }
      for (job, executor) in batch { job.runSynchronously(on: executor) }
    }
  }
}

/// Starts a detached thread for work that blocks.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
  let thread = Thread(block: body)
  thread.name = String(decoding: name.utf8.prefix(15), as: UTF8.self)
  thread.stackSize = 8 << 20
  thread.start()
}
