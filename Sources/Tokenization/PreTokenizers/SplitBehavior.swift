/// What becomes of the matches of a pattern that splits a text.
enum SplitBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  init(_ component: Component) throws(TokenizerError) {
    let name = try component.string()
    guard let behavior = SplitBehavior(rawValue: name) else { throw component.error("is '\(name)', which is not a known behavior") }
    self = behavior
  }

  /// The parts that stay, from alternating matches and text between them.
  func apply(_ parts: [(range: Range<Int>, isMatch: Bool)]) -> [Range<Int>] {
    var result: [Range<Int>] = []
    var previousIsMatch = false
    switch self {
    case .isolated:
      result = parts.map(\.range)
    case .removed:
      result = parts.filter { !$0.isMatch }.map(\.range)
    case .contiguous:
      for (range, isMatch) in parts {
        if isMatch == previousIsMatch, let last = result.popLast() {
          result.append(last.lowerBound..<range.upperBound)
        } else {
          result.append(range)
        }
        previousIsMatch = isMatch
      }
    case .mergedWithPrevious:
      for (range, isMatch) in parts {
        if isMatch, !previousIsMatch, let last = result.popLast() {
          result.append(last.lowerBound..<range.upperBound)
        } else {
          result.append(range)
        }
        previousIsMatch = isMatch
      }
    case .mergedWithNext:
      for (range, isMatch) in parts.reversed() {
        if isMatch, !previousIsMatch, let last = result.popLast() {
          result.append(range.lowerBound..<last.upperBound)
        } else {
          result.append(range)
        }
        previousIsMatch = isMatch
      }
      result.reverse()
    }
    return result
  }
}
