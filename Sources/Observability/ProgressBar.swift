import Synchronization

/// How far a piece of work is: a bar that is redrawn in place on a terminal, a plain line now and then in a log.
///
/// ```
/// rollout  ███████▍            37/100  37%  0:12 < 0:21  3.1/s  reward 0.52
/// ```
public final class ProgressBar: Sendable {
  private let console: Console
  private let title: String
  private let total: Int
  private let now: @Sendable () -> Duration
  private let state: Mutex<State>

  private struct State {
    var start: Duration
    var lastShown: Duration?
    var progress: ProgressLine
  }

  /// Seconds between two drawings on a terminal, and between two lines in a log.
  private static let redrawInterval = Duration.milliseconds(100)
  private static let logInterval = Duration.seconds(10)

  /// - Parameter now: the time since some fixed moment.
  public init(_ title: String, total: Int, console: Console = .standard, now: (@Sendable () -> Duration)? = nil) {
    (self.title, self.total, self.console) = (title, total, console)
    let origin = ContinuousClock.now
    self.now = now ?? { ContinuousClock.now - origin }
    state = Mutex(State(start: self.now(), progress: ProgressLine(title: title, total: total)))
    update(0)
  }

  /// - Parameter detail: a few words behind the numbers.
  public func update(_ completed: Int, detail: String = "") {
    show(completed, detail, isLast: false)
  }

  /// Removes the bar from a terminal and leaves one line that says how it went.
  public func finish(detail: String = "") {
    let completed = state.withLock { $0.progress.completed }
    if console.terminal.isInteractive { console.setStatus(nil) }
    show(completed, detail, isLast: true)
  }

  private func show(_ completed: Int, _ detail: String, isLast: Bool) {
    let terminal = console.terminal
    let interval = terminal.isInteractive ? Self.redrawInterval : Self.logInterval
    let progress: ProgressLine? = state.withLock { state in
      let time = now()
      state.progress.completed = completed
      state.progress.elapsed = time - state.start
      if !detail.isEmpty { state.progress.detail = detail }
      if !isLast, let last = state.lastShown, time - last < interval { return nil }
      state.lastShown = time
      return state.progress
    }
    guard let progress else { return }
    if terminal.isInteractive && !isLast {
      console.setStatus(progress.line(width: terminal.width - 1, isUnicode: terminal.isUnicode))
    } else {
      console.print(progress.plainLine, to: .errors)
    }
  }
}
