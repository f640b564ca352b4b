import Foundation

/// Runs closures after a delay unless they are withdrawn first. One timer for all, set to the earliest.
final class DeadlineTimer: @unchecked Sendable {
  private let lock = NSLock()
  private var entries: [UInt64: (due: DispatchTime, action: @Sendable () -> Void)] = [:]
  private var nextEntry: UInt64 = 0
  private var nextFiring = DispatchTime.distantFuture
  private let timer: any DispatchSourceTimer

  init() {
    timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "deadlines"))
    timer.setEventHandler { [weak self] in self?.fire() }
    timer.resume()
  }

  deinit { timer.cancel() }

  /// - Returns: what withdraws it.
  func schedule(after delay: Duration, _ action: @escaping @Sendable () -> Void) -> UInt64 {
    let due = DispatchTime.now() + delay.seconds
    return lock.withLock {
      nextEntry += 1
      entries[nextEntry] = (due, action)
      if due < nextFiring { arm(due) }
      return nextEntry
    }
  }

  /// The timer stays as it is: most calls are answered long before their deadline, and re-arming would cost each of them.
  func withdraw(_ id: UInt64) {
    lock.withLock { _ = entries.removeValue(forKey: id) }
  }

  private func arm(_ due: DispatchTime) {
    nextFiring = due
    timer.schedule(deadline: due, leeway: .milliseconds(1))
  }

  private func fire() {
    let now = DispatchTime.now()
    let expired = lock.withLock {
      let expired = entries.filter { $0.value.due <= now }
      for id in expired.keys { entries[id] = nil }
      arm(entries.values.map(\.due).min() ?? .distantFuture)
      return expired
    }
    for entry in expired.values { entry.action() }
  }
}
