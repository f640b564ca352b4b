import Foundation

/// The bounded channel into a thread: what other threads want done there, in order.
final class CommandQueue<Command: Sendable>: @unchecked Sendable {
  private let condition = NSCondition()
  private let capacity: Int
  private var commands: [Command] = []
  private var isClosed = false

  enum Outcome { case accepted, full, closed }

  init(capacity: Int) { self.capacity = capacity }

  /// - Parameter always: whether to queue it although the queue is full: commands that end work, or that callers wait
  ///   for one by one.
  @discardableResult
  func post(always: Bool = false, _ command: Command) -> Outcome {
    condition.lock()
    defer { condition.unlock() }
    if isClosed { return .closed }
    if commands.count >= capacity, !always { return .full }
    commands.append(command)
    condition.signal()
    return .accepted
  }

  /// No command is accepted from now on.
  func close() {
    condition.lock()
    isClosed = true
    condition.signal()
    condition.unlock()
  }

  /// All waiting commands. With `wait`, blocks until there is one or the queue is closed.
  func take(wait: Bool) -> (commands: [Command], isClosed: Bool) {
    condition.lock()
    defer { condition.unlock() }
    while wait, commands.isEmpty, !isClosed { condition.wait() }
    defer { commands = [] }
    return (commands, isClosed)
  }
}
