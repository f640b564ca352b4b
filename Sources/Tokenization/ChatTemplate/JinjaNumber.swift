import Foundation

/// Python's arithmetic on integers (64 bits here; more is an error) and floats.
enum JinjaNumber {
  case int(Int)
  case float(Double)

  var double: Double {
    switch self {
    case .int(let value): Double(value)
    case .float(let value): value
    }
  }

  func isEqual(to other: JinjaNumber) -> Bool {
    switch (self, other) {
    case (.int(let a), .int(let b)): a == b
    case (.float(let a), .float(let b)): a == b
    case (.int(let a), .float(let b)), (.float(let b), .int(let a)): Int(exactly: b) == a
    }
  }

  func isLess(than other: JinjaNumber) -> Bool {
    if case .int(let a) = self, case .int(let b) = other { return a < b }
    return double < other.double
  }

  func apply(_ symbol: String, _ other: JinjaNumber) throws -> JinjaValue {
    if case .int(let a) = self, case .int(let b) = other, symbol != "/" { return try Self.apply(symbol, a, b) }
    let (a, b) = (double, other.double)
    switch symbol {
    case "+": return .float(a + b)
    case "-": return .float(a - b)
    case "*": return .float(a * b)
    case "**":
      if a == 0, b < 0 { throw failure("0 cannot be raised to a negative power.") }
      if a < 0, b != b.rounded() { throw failure("a negative number has no real fractional power.") }
      let power = pow(a, b)
      if power.isInfinite, a.isFinite, b.isFinite { throw failure("the result of '**' is too large.") }
      return .float(power)
    default:
      guard b != 0 else { throw failure("a number is divided by zero.") }
      if symbol == "/" { return .float(a / b) }
      var remainder = fmod(a, b)
      if remainder != 0, (remainder < 0) != (b < 0) { remainder += b }
      if symbol == "%" { return .float(remainder == 0 ? copysign(0, b) : remainder) }
      let quotient = (a - remainder) / b
      if quotient == 0 { return .float(copysign(0, a / b)) }
      let floored = quotient.rounded(.down)
      return .float(quotient - floored > 0.5 ? floored + 1 : floored)
    }
  }

  private static func apply(_ symbol: String, _ a: Int, _ b: Int) throws -> JinjaValue {
    let result: (partialValue: Int, overflow: Bool)
    switch symbol {
    case "+": result = a.addingReportingOverflow(b)
    case "-": result = a.subtractingReportingOverflow(b)
    case "*": result = a.multipliedReportingOverflow(by: b)
    case "**":
      if b < 0 { return try JinjaNumber.float(Double(a)).apply("**", .float(Double(b))) }
      result = power(a, b)
    default:
      guard b != 0 else { throw failure("a number is divided by zero.") }
      let (quotient, overflow) = a.dividedReportingOverflow(by: b)
      let remainder = overflow ? 0 : a % b
      let isBelow = remainder != 0 && (remainder < 0) != (b < 0)
      result = symbol == "//" ? (isBelow ? quotient - 1 : quotient, overflow) : (isBelow ? remainder + b : remainder, false)
    }
    guard !result.overflow else { throw failure("the result of '\(symbol)' does not fit in 64 bits.") }
    return .int(result.partialValue)
  }

  private static func power(_ base: Int, _ exponent: Int) -> (partialValue: Int, overflow: Bool) {
    if base == 0 || base == 1 { return (exponent == 0 ? 1 : base, false) }
    if base == -1 { return (exponent % 2 == 0 ? 1 : -1, false) }
    guard exponent < 64 else { return (0, true) }
    var result = 1
    for _ in 0..<exponent {
      let (product, overflow) = result.multipliedReportingOverflow(by: base)
      if overflow { return (0, true) }
      result = product
    }
    return (result, false)
  }
}
