import Foundation

/// The state of a progress bar, and how it looks.
package struct ProgressLine: Sendable {
  package var title: String
  package var total: Int
  package var completed = 0
  package var elapsed = Duration.zero
  package var detail = ""

  package init(title: String, total: Int) { (self.title, self.total) = (title, total) }

  private var fraction: Double { total > 0 ? min(max(Double(completed) / Double(total), 0), 1) : 1 }
  private var seconds: Double { Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18 }

  /// The line for a log.
  package var plainLine: String { ([title] + facts + (detail.isEmpty ? [] : [detail])).joined(separator: "  ") }

  /// The line for a terminal, at most `width` columns: the detail gives way first, then the bar.
  package func line(width: Int, isUnicode: Bool) -> String {
    let facts = facts.joined(separator: "  ")
    let room = width - title.count - facts.count - 4
    if room < 4 { return String("\(title)  \(facts)".prefix(max(width, 0))) }
    let tail = detail.isEmpty ? "" : "  " + detail
    let barWidth = min(max(room - tail.count, 4), 30)
    return String("\(title)  \(bar(barWidth, isUnicode))  \(facts)\(tail)".prefix(width))
  }

  /// Completed and total, share, elapsed < remaining, rate.
  private var facts: [String] {
    var facts = ["\(completed)/\(total)", "\(Int(fraction * 100))%"]
    let rate = seconds > 0 ? Double(completed) / seconds : 0
    if completed > 0 && completed < total && rate > 0 {
      facts.append("\(Self.clock(seconds)) < \(Self.clock(Double(total - completed) / rate))")
    } else {
      facts.append(Self.clock(seconds))
    }
    if rate > 0 { facts.append(rate >= 1 ? String(format: "%.1f/s", rate) : String(format: "%.1f s each", 1 / rate)) }
    return facts
  }

  private func bar(_ width: Int, _ isUnicode: Bool) -> String {
    guard isUnicode else {
      let filled = Int(fraction * Double(width - 2))
      return "[" + String(repeating: "#", count: filled) + String(repeating: ".", count: width - 2 - filled) + "]"
    }
    let eighths = Int(fraction * Double(width * 8))
    var bar = String(repeating: "█", count: eighths / 8)
    if eighths % 8 > 0 { bar.append(Array("▏▎▍▌▋▊▉")[eighths % 8 - 1]) }
    return bar + String(repeating: " ", count: width - bar.count)
  }

  /// `0:07`, `12:34`, `1:02:03`.
  private static func clock(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds < 3.6e9 else { return "–" }
    let whole = Int(seconds.rounded())
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60)
    return hours > 0 ? String(format: "%d:%02d:%02d", hours, minutes, rest) : String(format: "%d:%02d", minutes, rest)
  }
}
