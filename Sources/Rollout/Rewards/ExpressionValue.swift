import Foundation

/// The value of a mathematical expression at given values of its variables, or nil for what is not one.
///
/// Knows numbers, + − * / ^, brackets, `\frac`, `\sqrt` (with an index), `pi`, and single letters as variables. Nesting and
/// length are bounded, so that no text takes long.
struct ExpressionValue {
  private static let longest = 300
  private static let deepest = 50

  private let characters: [Character]
  private var index = 0
  private var depth = 0
  /// The value of a letter.
  private let variable: (Character) -> Double

  static func of(_ text: String, variable: @escaping (Character) -> Double) -> Double? {
    guard text.count <= longest else { return nil }
    var parser = ExpressionValue(characters: Array(text), variable: variable)
    guard let value = parser.sum(), parser.index == parser.characters.count, value.isFinite else { return nil }
    return value
  }

  private init(characters: [Character], variable: @escaping (Character) -> Double) {
    (self.characters, self.variable) = (characters, variable)
  }

  private var next: Character? { index < characters.count ? characters[index] : nil }

  private mutating func take(_ text: String) -> Bool {
    guard characters[index...].starts(with: text) else { return false }
    index += text.count
    return true
  }

  private mutating func sum() -> Double? {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest, var value = product() else { return nil }
    while let sign = next, sign == "+" || sign == "-" {
      index += 1
      guard let term = product() else { return nil }
      value += sign == "+" ? term : -term
    }
    return value
  }

  private mutating func product() -> Double? {
    if take("-") { return product().map { -$0 } }
    if take("+") { return product() }
    guard var value = power() else { return nil }
    while let sign = next, !"+-)}],".contains(sign) {
      if sign == "*" || sign == "/" { index += 1 }
      guard let factor = power() else { return nil }
      value = sign == "/" ? value / factor : value * factor
    }
    return value
  }

  private mutating func power() -> Double? {
    guard let base = atom() else { return nil }
    guard take("^") else { return base }
    let isNegative = take("-")
    return power().map { pow(base, isNegative ? -$0 : $0) }
  }

  private mutating func atom() -> Double? {
    if take("\\frac") {
      guard let a = group(), let b = group() else { return nil }
      return a / b
    }
    if take("\\sqrt") {
      var degree = 2.0
      if take("[") {
        guard let value = sum(), take("]") else { return nil }
        degree = value
      }
      return group().map { pow($0, 1 / degree) }
    }
    if take("sqrt") { return group().map { $0.squareRoot() } }
    if take("pi") { return .pi }
    guard let first = next else { return nil }
    if first == "(" || first == "{" || first == "[" { return group() }
    if first.isASCII, first.isNumber || first == "." {
      let start = index
      while let digit = next, digit.isASCII, digit.isNumber || digit == "." { index += 1 }
      return Double(String(characters[start..<index]))
    }
    guard first.isASCII, first.isLetter else { return nil }
    index += 1
    return variable(first)
  }

  private mutating func group() -> Double? {
    guard let open = next, let close = ["(": ")", "{": "}", "[": "]"][open] else { return nil }
    index += 1
    guard let value = sum(), take(String(close)) else { return nil }
    return value
  }
}
