import Foundation

/// One place of a format string: `[[fill]align][sign][#][0][width][,][.precision][type]`.
struct FormatSpecification {
  var fill: Unicode.Scalar = " "
  var align: Character?
  var sign: Character = "-"
  var isAlternate = false
  var isZeroPadded = false
  var width = 0
  var grouping: Character?
  var precision: Int?
  var kind: Character?

  init() {}

  init(parsing specification: String) throws {
    var text = specification.scalars[...]
    func isAlign(_ scalar: Unicode.Scalar) -> Bool { "<>=^".unicodeScalars.contains(scalar) }
    if text.count >= 2, isAlign(text[text.startIndex + 1]) {
      (fill, align) = (text.removeFirst(), Character(text.removeFirst()))
    } else if let first = text.first, isAlign(first) {
      align = Character(text.removeFirst())
    }
    if let first = text.first, "+- ".unicodeScalars.contains(first) { sign = Character(text.removeFirst()) }
    if text.first == "#" { isAlternate = true; text.removeFirst() }
    if text.first == "0" { isZeroPadded = true; text.removeFirst() }
    func number() throws -> Int? {
      let digits = text.prefix { $0.isDecimalDigit }
      text = text.dropFirst(digits.count)
      return digits.isEmpty ? nil : try Self.bounded(String(scalars: digits))
    }
    width = try number() ?? 0
    if let first = text.first, first == "," || first == "_" { grouping = Character(text.removeFirst()) }
    if text.first == "." { text.removeFirst(); precision = try number() ?? 0 }
    if text.count == 1 { kind = Character(text.removeFirst()) }
    guard text.isEmpty else { throw failure("'\(specification)' is not a format.") }
  }

  static func bounded(_ digits: String) throws -> Int {
    guard let value = Int(digits), value <= 10_000 else { throw failure("a width of \(digits) in a format string is too large.") }
    return value
  }

  // MARK: - Values

  /// `format(value, specification)`.
  func format(_ value: JinjaValue) throws -> String {
    if let number = value.number, !(value.isBool && kind == nil) { return try format(number) }
    if case .string(let text) = value {
      guard kind == nil || kind == "s", align != "=" else { throw failure("a string cannot be formatted as '\(kind ?? "=")'.") }
      return pad(cut(text), "", standard: "<")
    }
    let text = try value.text()
    guard isPlain else { throw failure("a value of type \(value.typeName) cannot be formatted with a width or a type.") }
    return text
  }

  private var isPlain: Bool { kind == nil && width == 0 && align == nil && precision == nil }

  /// The place `%…kind` of a `%` format.
  func percent(_ kind: Character, _ value: JinjaValue) throws -> String {
    var place = self
    place.kind = kind
    switch kind {
    case "s", "r", "a":
      place.isZeroPadded = false
      return place.pad(cut(try kind == "s" ? value.text() : value.representation()), "", standard: ">")
    case "c":
      let scalar = value.integer.flatMap { UInt32(exactly: $0) }.flatMap { Unicode.Scalar($0) }
      return place.pad(try scalar.map { String($0) } ?? JinjaMethods.text(value), "", standard: ">")
    default:
      guard var number = try value.defined().number else { throw failure("'%\(kind)' needs a number, not a \(value.typeName).") }
      if "diu".contains(kind) {
        place.kind = "d"
        if case .float(let double) = number {
          guard let integer = Int(exactly: double.rounded(.towardZero)) else { throw failure("\(double) is not an integer.") }
          number = .int(integer)
        }
      }
      if place.align == "<" { place.isZeroPadded = false }
      return try place.format(number)
    }
  }

  private func cut(_ text: String) -> String {
    precision.map { String(scalars: text.unicodeScalars.prefix($0)) } ?? text
  }

  private func format(_ number: JinjaNumber) throws -> String {
    var negative = number.double < 0 || (number.double == 0 && number.double.sign == .minus)
    var body: String
    switch (number, kind ?? "\0") {
    case (.int(let value), "d"), (.int(let value), "n"), (.int(let value), "\0"): body = grouped(String(value.magnitude))
    case (.int(let value), "x"): body = (isAlternate ? "0x" : "") + String(value.magnitude, radix: 16)
    case (.int(let value), "X"): body = (isAlternate ? "0X" : "") + String(value.magnitude, radix: 16, uppercase: true)
    case (.int(let value), "o"): body = (isAlternate ? "0o" : "") + String(value.magnitude, radix: 8)
    case (.int(let value), "b"): body = (isAlternate ? "0b" : "") + String(value.magnitude, radix: 2)
    case (.int(let value), "c"):
      guard let scalar = Unicode.Scalar(UInt32(clamping: value)) else { throw failure("\(value) is not a character.") }
      (body, negative) = (String(scalar), false)
    case (_, "f"), (_, "F"), (_, "e"), (_, "E"), (_, "g"), (_, "G"), (_, "%"): body = real(number.double.magnitude)
    case (.float(let value), "\0"): body = grouped(precision == nil ? value.magnitude.pythonText : general(value.magnitude))
    default: throw failure("a number cannot be formatted as '\(kind ?? " ")'.")
    }
    if !number.double.isFinite { (body, negative) = (body, number.double == -.infinity) }
    return pad(body, negative ? "-" : sign == "-" ? "" : String(sign), standard: ">")
  }

  private func real(_ value: Double) -> String {
    guard value.isFinite else { return (value.isNaN ? "nan" : "inf") + (kind == "%" ? "%" : "") }
    let digits = precision ?? 6
    let mark = kind == "%" ? "f" : String(kind!)
    let scaled = kind == "%" ? value * 100 : value
    let text = String(format: "%\(isAlternate ? "#" : "").\(digits)\(mark)", scaled)
    return grouped(text) + (kind == "%" ? "%" : "")
  }

  /// A float with a precision but no type: like `g`, but with at least one digit after the point.
  private func general(_ value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "nan" : "inf" }
    let digits = max(1, precision!)
    let exponent = value == 0 ? 0 : Int(String(format: "%.\(digits - 1)e", value).split(separator: "e")[1])!
    if exponent < -4 || exponent >= digits - (digits > 1 ? 1 : 0) && exponent >= digits {
      return String(format: "%.\(digits)g", value)
    }
    let text = String(format: "%.\(digits)g", value)
    return text.contains(".") || text.contains("e") ? text : text + ".0"
  }

  private func grouped(_ text: String) -> String {
    guard let grouping else { return text }
    let whole = Array(text.prefix { $0.isNumber })
    var out = ""
    for (i, digit) in whole.enumerated() {
      if i > 0, (whole.count - i) % 3 == 0 { out.append(grouping) }
      out.append(digit)
    }
    return out + text.dropFirst(whole.count)
  }

  private func pad(_ body: String, _ sign: String, standard: Character) -> String {
    let spare = max(0, width - body.unicodeScalars.count - sign.count)
    func fill(_ count: Int, _ scalar: Unicode.Scalar? = nil) -> String {
      String(repeating: String(scalar ?? self.fill), count: count)
    }
    if isZeroPadded, align == nil { return sign + fill(spare, "0") + body }
    switch align ?? standard {
    case "<": return sign + body + fill(spare, isZeroPadded && self.fill == " " ? "0" : nil)
    case "^": return fill(spare / 2) + sign + body + fill(spare - spare / 2)
    case "=": return sign + fill(spare) + body
    default: return fill(spare) + sign + body
    }
  }
}

extension JinjaValue {
  fileprivate var isBool: Bool { if case .bool = self { true } else { false } }
}
