/// Lets a bounded number of tasks through at a time, first come, first served.
actor Semaphore {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []
  private var firstWaiting = 0

  init(_ count: Int) { free = max(count, 1) }

  func withPermit<Result: Sendable>(_ body: @Sendable () async throws -> Result) async rethrows -> Result {
    await acquire()
    defer { release() }
    return try await body()
  }

  private func acquire() async {
    if free > 0 {
      free -= 1
    } else {
      await withCheckedContinuation { waiting.append($0) }
    }
  }

  /// Hands the permit to whoever waits longest. A cancelled waiter is let through as well, and ends by itself.
  private func release() {
    guard firstWaiting < waiting.count else {
      free += 1
      return
    }
    let next = waiting[firstWaiting]
    firstWaiting += 1
    if firstWaiting == waiting.count { (waiting, firstWaiting) = ([], 0) }
    next.resume()
  }
}
