import Foundation

/// A dataset file, perhaps with the rows to take of it: `prompts.jsonl@[10:-5]`, with Python's meaning.
public struct DatasetPath: Sendable, Equatable {
  public var file: String
  public var lower: Int?
  public var upper: Int?

  public init(_ text: String) {
    (file, lower, upper) = (text, nil, nil)
    guard text.hasSuffix("]"), let mark = text.range(of: "@[", options: .backwards) else { return }
    let bounds = text[mark.upperBound...].dropLast().split(separator: ":", omittingEmptySubsequences: false)
    guard bounds.count == 2, bounds.allSatisfy({ $0.isEmpty || Int($0) != nil && !$0.hasPrefix("+") }) else { return }
    file = String(text[..<mark.lowerBound])
    (lower, upper) = (Int(bounds[0]), Int(bounds[1]))
  }

  /// The rows that are meant among `count`; the same as Python's `range(count)[lower:upper]`.
  public func rows(of count: Int) -> Range<Int> {
    func resolve(_ bound: Int?, _ fallback: Int) -> Int {
      guard let bound else { return fallback }
      return min(max(bound < 0 ? bound + count : bound, 0), count)
    }
    let start = resolve(lower, 0)
    return start..<max(start, resolve(upper, count))
  }

  /// Whether the number of rows must be known to tell which are meant.
  var needsCount: Bool { (lower ?? 0) < 0 || (upper ?? 0) < 0 }
}
