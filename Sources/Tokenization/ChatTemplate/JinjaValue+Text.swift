import Foundation

extension JinjaValue {
  /// Python's `str`.
  func text() throws -> String {
    switch self {
    case .undefined: ""
    case .string(let text): text
    default: try representation()
    }
  }

  /// Python's `repr`.
  func representation() throws -> String {
    switch self {
    case .undefined: return "Undefined"
    case .none: return "None"
    case .bool(let value): return value ? "True" : "False"
    case .int(let value): return String(value)
    case .float(let value): return value.pythonText
    case .string(let value): return value.pythonRepresentation()
    case .list(let array): return "[" + (try Self.join(array.items)) + "]"
    case .tuple(let array): return "(" + (try Self.join(array.items)) + (array.items.count == 1 ? ",)" : ")")
    case .dictionary(let dictionary):
      let pairs = try zip(dictionary.keys, dictionary.values).map {
        (try $0.representation()) + ": " + (try $1.representation())
      }
      return "{" + pairs.joined(separator: ", ") + "}"
    case .range(let range):
      return "range(\(range.start), \(range.stop)" + (range.step == 1 ? ")" : ", \(range.step))")
    case .object(let object): return try object.text()
    }
  }

  static func join(_ items: [JinjaValue]) throws -> String {
    try items.map { try $0.representation() }.joined(separator: ", ")
  }
}

extension Double {
  /// Python's `repr`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
  var pythonText: String {
    if isNaN { return "nan" }
    if isInfinite { return self < 0 ? "-inf" : "inf" }
    if self == 0 { return sign == .minus ? "-0.0" : "0.0" }
    let (digits, exponent) = shortestDigits
    let sign = self < 0 ? "-" : ""
    if exponent < -4 || exponent >= 16 {
      let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
      let magnitude = String(abs(exponent)).leftPadded(to: 2, with: "0")
      return sign + digits.prefix(1) + fraction + "e" + (exponent < 0 ? "-" : "+") + magnitude
    }
    if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
    let whole = exponent + 1
    if digits.count <= whole { return sign + digits + String(repeating: "0", count: whole - digits.count) + ".0" }
    return sign + digits.prefix(whole) + "." + digits.dropFirst(whole)
  }

  /// The digits of the shortest text, without leading and trailing zeros, and the power of ten of the first of them.
  private var shortestDigits: (digits: String, exponent: Int) {
    let parts = magnitude.description.split(separator: "e")
    var exponent = parts.count > 1 ? Int(parts[1])! : 0
    let number = parts[0].split(separator: ".")
    var digits = Array(number.joined())
    exponent += number[0].count - 1
    while digits.count > 1, digits.first == "0" {
      digits.removeFirst()
      exponent -= 1
    }
    while digits.count > 1, digits.last == "0" { digits.removeLast() }
    return (String(digits), exponent)
  }
}

extension String {
  func leftPadded(to width: Int, with pad: Character) -> String {
    String(repeating: pad, count: max(0, width - unicodeScalars.count)) + self
  }

  /// Python's `repr` of a string.
  func pythonRepresentation() -> String {
    let quote: Unicode.Scalar = unicodeScalars.contains("'") && !unicodeScalars.contains("\"") ? "\"" : "'"
    var out = String.UnicodeScalarView([quote])
    for scalar in unicodeScalars {
      switch scalar {
      case quote, "\\": out.append(contentsOf: ["\\", scalar])
      case "\n": out.append(contentsOf: ["\\", "n"])
      case "\r": out.append(contentsOf: ["\\", "r"])
      case "\t": out.append(contentsOf: ["\\", "t"])
      default:
        if scalar.isPythonPrintable {
          out.append(scalar)
        } else {
          let (mark, width) = scalar.value <= 0xFF ? ("\\x", 2) : scalar.value <= 0xFFFF ? ("\\u", 4) : ("\\U", 8)
          let hex = String(scalar.value, radix: 16).leftPadded(to: width, with: "0")
          out.append(contentsOf: (mark + hex).unicodeScalars)
        }
      }
    }
    out.append(quote)
    return String(out)
  }
}
