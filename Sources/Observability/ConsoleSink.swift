import Foundation

/// Prints the numbers of each step on as few lines as the terminal's width allows.
///
/// ```
/// step 12  rollout/raw_reward 0.531  rollout/response_len/mean 212  train/loss 0.0123  train/grad_norm 0.87
///          perf/step_time 12.4
/// ```
public struct ConsoleSink: MetricsSink {
  private let console: Console
  private let isShown: @Sendable (String) -> Bool

  /// - Parameter isShown: which metrics, by name.
  public init(_ console: Console = .standard, isShown: @escaping @Sendable (String) -> Bool = { _ in true }) {
    (self.console, self.isShown) = (console, isShown)
  }

  public func record(_ metrics: Metrics, step: Int) {
    let terminal = console.terminal
    let width = terminal.isInteractive ? terminal.width : 120
    for line in Self.lines(metrics.pairs.filter { isShown($0.name) }, step: step, width: width) { console.print(line) }
  }

  static func lines(_ pairs: [(name: String, value: Double)], step: Int, width: Int) -> [String] {
    let head = "step \(step)"
    var lines = [head]
    for (name, value) in pairs {
      let item = "  \(name) \(shortNumber(value))"
      if lines[lines.count - 1].count + item.count > width && lines[lines.count - 1].count > head.count {
        lines.append(String(repeating: " ", count: head.count))
      }
      lines[lines.count - 1] += item
    }
    return lines
  }
}

/// A number in at most four significant digits: `212`, `0.531`, `1.23e-05`.
public func shortNumber(_ value: Double) -> String {
  if let whole = Int(exactly: value), abs(whole) < 1_000_000 { return "\(whole)" }
  let magnitude = abs(value)
  guard value.isFinite else { return "\(value)" }
  if magnitude >= 1000 && magnitude < 1_000_000 { return String(format: "%.0f", value) }
  return String(format: "%.4g", value)
}
