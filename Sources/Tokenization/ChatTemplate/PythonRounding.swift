import Foundation

/// Python's `round`: to the nearest decimal of the exact value, halves to even.
enum PythonRounding {
  static func power(_ exponent: Int) -> Double { pow(10, Double(exponent)) }

  static func round(_ number: JinjaNumber, _ precision: Int) throws -> JinjaValue {
    switch number {
    case .int(let value):
      guard precision < 0 else { return .int(value) }
      guard precision > -19 else { return .int(0) }
      let unit = Int(power(-precision))
      var rest = value % unit
      if rest < 0 { rest += unit }
      let lower = value - rest
      let goesUp = rest * 2 == unit ? (lower / unit) % 2 != 0 : rest > unit / 2
      let (result, overflow) = goesUp ? lower.addingReportingOverflow(unit) : (lower, false)
      guard !overflow else { throw failure("the rounded number does not fit in 64 bits.") }
      return .int(result)
    case .float(let value):
      guard value.isFinite else { return .float(value) }
      if precision >= 0 { return .float(Double(String(format: "%.\(precision)f", value))!) }
      let unit = power(-precision)
      return .float((value / unit).rounded(.toNearestOrEven) * unit)
    }
  }
}
