/// The value of a mathematical expression at given values of its variables, or nil for what is not one.
///
/// Knows numbers, + − * / ^, brackets, `sqrt`, `root(n,x)`, `ln`, `pi`, and single letters as variables; factors may stand
/// side by side. Nesting and length are bounded, so that no text takes long.
struct ExpressionValue {
  private static let longest = 300
  private static let deepest = 50

  private let characters: [Character]
  private var index = 0
  private var depth = 0
  /// The value of a letter.
  private let variable: (Character) -> ComplexNumber

  static func of(_ text: String, variable: @escaping (Character) -> ComplexNumber) -> ComplexNumber? {
    guard text.count <= longest else { return nil }
    var parser = ExpressionValue(characters: Array(text), variable: variable)
    guard let value = parser.sum(), parser.index == parser.characters.count, value.isFinite else { return nil }
    return value
  }

  private init(characters: [Character], variable: @escaping (Character) -> ComplexNumber) {
    (self.characters, self.variable) = (characters, variable)
  }

  private var next: Character? { index < characters.count ? characters[index] : nil }

  private mutating func take(_ text: String) -> Bool {
    guard characters[index...].starts(with: text) else { return false }
    index += text.count
    return true
  }

  private mutating func sum() -> ComplexNumber? {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest, var value = product() else { return nil }
    while let sign = next, sign == "+" || sign == "-" {
      index += 1
      guard let term = product() else { return nil }
      value = sign == "+" ? value + term : value - term
    }
    return value
  }

  private mutating func product() -> ComplexNumber? {
    guard var value = signed() else { return nil }
    while let sign = next, !"+-)],".contains(sign) {
      let isOperator = sign == "*" || sign == "/"
      if isOperator { index += 1 }
      guard let factor = isOperator ? signed() : power() else { return nil }
      value = sign == "/" ? value / factor : value * factor
    }
    return value
  }

  private mutating func signed() -> ComplexNumber? {
    var isNegative = false
    while let sign = next, sign == "-" || sign == "+" {
      if sign == "-" { isNegative.toggle() }
      index += 1
    }
    return power().map { isNegative ? -$0 : $0 }
  }

  private mutating func power() -> ComplexNumber? {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.deepest, let base = atom() else { return nil }
    guard take("^") else { return base }
    let isNegative = take("-")
    return power().map { base.power(isNegative ? -$0 : $0) }
  }

  private mutating func atom() -> ComplexNumber? {
    if take("sqrt") { return argument().map { $0.power(ComplexNumber(0.5)) } }
    if take("root(") {
      guard let degree = sum(), take(","), let value = sum(), take(")") else { return nil }
      return value.power(ComplexNumber(1) / degree)
    }
    if take("ln") { return argument().map(\.logarithm) }
    if take("pi") { return ComplexNumber(.pi) }
    guard let first = next else { return nil }
    if first == "(" || first == "[" { return group() }
    if Self.isDigit(first) { return number() }
    guard first.isLetter else { return nil }
    index += 1
    return variable(first)
  }

  /// What a function is applied to: a group, a number or a letter.
  private mutating func argument() -> ComplexNumber? { atom() }

  private static func isDigit(_ character: Character) -> Bool { "0123456789.".contains(character) }

  private mutating func number() -> ComplexNumber? {
    let start = index
    while let digit = next, Self.isDigit(digit) { index += 1 }
    return Double(String(characters[start..<index])).map { ComplexNumber($0) }
  }

  private mutating func group() -> ComplexNumber? {
    let close = take("(") ? ")" : take("[") ? "]" : ""
    guard !close.isEmpty, let value = sum(), take(close) else { return nil }
    return value
  }
}
