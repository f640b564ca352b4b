/// The filters that can follow `|`.
enum JinjaFilters {
  typealias Filter = @Sendable (JinjaInterpreter, JinjaValue, JinjaArguments) throws -> JinjaValue

  static let table: [String: Filter] = text.merging(sequences) { $1 }.merging(values) { $1 }

  /// Filters that make one value of another.
  private static let values: [String: Filter] = [
    "default": standard, "d": standard,
    "abs": { _, value, arguments in
      _ = try arguments.bind("abs")
      switch try value.defined().number {
      case .int(let value)?: return value < 0 ? try JinjaValue.int(value).negated("-") : .int(value)
      case .float(let value)?: return .float(value.magnitude)
      case nil: throw failure("'abs' needs a number, not a \(value.typeName).")
      }
    },
    "int": { _, value, arguments in
      let arguments = try arguments.bind("int", "default", "base")
      let base = try arguments[1].map(JinjaMethods.integer) ?? 10
      return try integer(value, base: base) ?? arguments[0] ?? .int(0)
    },
    "float": { _, value, arguments in
      let fallback = try arguments.bind("float", "default")[0]
      if case .string(let text) = value { return real(text).map { .float($0) } ?? fallback ?? .float(0) }
      return try value.defined().number.map { .float($0.double) } ?? fallback ?? .float(0)
    },
    "round": round,
    "attr": { _, value, arguments in
      let name = try JinjaMethods.text(try arguments.bind("attr", "name", required: 1)[0]!)
      if case .dictionary = value, value.method(name) == nil { return .undefined(.attribute(name, of: "dict")) }
      return try value.attribute(name)
    },
    "tojson": tojson,
    "items": { _, value, arguments in
      _ = try arguments.bind("items")
      switch value {
      case .undefined: return .object(JinjaIterator([]))
      case .dictionary(let dictionary): return .object(JinjaIterator(dictionary.pairs))
      default: throw failure("'items' needs a dict, not a \(value.typeName).")
      }
    },
    "dictsort": { _, value, arguments in
      let arguments = try arguments.bind("dictsort", "case_sensitive", "by", "reverse")
      let isExact = try arguments[0]?.isTrue() ?? false
      let by = try arguments[1].map(JinjaMethods.text) ?? "key"
      guard by == "key" || by == "value" else { throw failure("'dictsort' sorts by 'key' or 'value', not by '\(by)'.") }
      guard case .dictionary(let dictionary) = try value.defined() else {
        throw failure("'dictsort' needs a dict, not a \(value.typeName).")
      }
      let sorted = try zip(dictionary.keys, dictionary.values)
        .map { pair in (key: folded(by == "key" ? pair.0 : pair.1, isExact), pair: JinjaValue.tuple([pair.0, pair.1])) }
        .pythonSorted(reverse: try arguments[2]?.isTrue() ?? false) { try $0.key.isLess(than: $1.key) }
      return .list(sorted.map(\.pair))
    },
  ]

  private static let standard: Filter = { _, value, arguments in
    let arguments = try arguments.bind("default", "default_value", "boolean")
    let isMissing = try value.isUndefined || ((arguments[1]?.isTrue() ?? false) && !value.isTrue())
    return isMissing ? arguments[0] ?? .string("") : value
  }

  private static let tojson: Filter = { _, value, arguments in
    let arguments = try arguments.bind("tojson", "ensure_ascii", "indent", "separators", "sort_keys")
    var separators: (item: String, key: String)?
    if let pair = arguments[2], !pair.isNone {
      let items = try pair.items()
      guard items.count == 2 else { throw failure("'separators' needs two strings.") }
      separators = (try JinjaMethods.text(items[0]), try JinjaMethods.text(items[1]))
    }
    var indent: String?
    switch arguments[1] {
    case nil, JinjaValue.none?: break
    case .string(let text)?: indent = text
    case let width?: indent = String(repeating: " ", count: try JinjaMethods.padding(JinjaMethods.integer(width)))
    }
    var writer = JinjaJSONWriter(
      ensuresASCII: try arguments[0]?.isTrue() ?? false, indent: indent, separators: separators,
      sortsKeys: try arguments[3]?.isTrue() ?? false)
    try writer.write(value)
    return .string(writer.text)
  }

  // MARK: - Numbers

  /// Python's `int(value)`, and through a float where that fails; nil if both do.
  private static func integer(_ value: JinjaValue, base: Int) throws -> JinjaValue? {
    switch try value.defined().number {
    case .int(let value)?: return .int(value)
    case .float(let value)?: return Int(exactly: value.rounded(.towardZero)).map { .int($0) }
    case nil: break
    }
    guard case .string(let text) = value else { return nil }
    guard (2...36).contains(base) || base == 0 else { throw failure("'int' needs a base from 2 to 36.") }
    var digits = text.pythonStripped().lowercased()
    var sign = ""
    if let first = digits.first, first == "-" || first == "+" { sign = String(digits.removeFirst()) }
    var radix = base
    for (prefix, prefixBase) in [("0x", 16), ("0o", 8), ("0b", 2)]
    where digits.hasPrefix(prefix) && [0, prefixBase].contains(base) {
      digits.removeFirst(2)
      if digits.first == "_" { digits.removeFirst() }
      radix = prefixBase
    }
    if radix == 0 { radix = 10 }
    let isUnsigned = digits.first != "-" && digits.first != "+"
    if isUnsigned, let digits = withoutUnderscores(digits), let value = Int(sign + digits, radix: radix) {
      return .int(value)
    }
    return real(text).flatMap { Int(exactly: $0.rounded(.towardZero)) }.map { .int($0) }
  }

  /// Python's `float(text)`.
  private static func real(_ text: String) -> Double? {
    guard let text = withoutUnderscores(text.pythonStripped().lowercased()) else { return nil }
    let unsigned = text.drop { $0 == "-" || $0 == "+" }
    if ["inf", "infinity", "nan"].contains(unsigned), text.count - unsigned.count <= 1 {
      return unsigned == "nan" ? .nan : text.hasPrefix("-") ? -.infinity : .infinity
    }
    guard text.utf8.allSatisfy({ "0123456789+-.e".utf8.contains($0) }) else { return nil }
    let whole = text.hasSuffix(".") ? text + "0" : text.replacing(".e", with: ".0e")
    return Double(whole)
  }

  /// Underscores may stand between digits, and nowhere else.
  private static func withoutUnderscores(_ text: String) -> String? {
    guard text.contains("_") else { return text }
    let characters = Array(text)
    for (i, character) in characters.enumerated() where character == "_" {
      guard i > 0, i + 1 < characters.count, characters[i - 1].isHexDigit, characters[i + 1].isHexDigit else { return nil }
    }
    return text.filter { $0 != "_" }
  }

  private static let round: Filter = { _, value, arguments in
    let arguments = try arguments.bind("round", "precision", "method")
    let precision = try arguments[0].map(JinjaMethods.integer) ?? 0
    let method = try arguments[1].map(JinjaMethods.text) ?? "common"
    guard let number = try value.defined().number else { throw failure("'round' needs a number, not a \(value.typeName).") }
    guard abs(precision) <= 300 else { throw failure("'round' cannot keep \(precision) digits.") }
    switch method {
    case "common": return try PythonRounding.round(number, precision)
    case "ceil", "floor":
      let scale = PythonRounding.power(precision)
      let scaled = number.double * scale
      return .float(scaled.rounded(method == "ceil" ? .up : .down) / scale)
    default: throw failure("'round' rounds by 'common', 'ceil' or 'floor', not by '\(method)'.")
    }
  }

  /// The value by which filters compare: without regard to case, unless asked.
  static func folded(_ value: JinjaValue, _ isExact: Bool) -> JinjaValue {
    if !isExact, case .string(let text) = value { return .string(text.pythonLowercased()) }
    return value
  }
}
