extension JinjaMethods {
  /// The methods of `str`.
  static let string: [String: JinjaMethod] = [
    "upper": plain("upper") { .string($0.uppercased()) },
    "lower": plain("lower") { .string($0.pythonLowercased()) },
    "casefold": plain("casefold") { .string($0.lowercased()) },
    "capitalize": plain("capitalize") { .string($0.pythonCapitalized()) },
    "title": plain("title") { .string($0.pythonTitled()) },
    "swapcase": plain("swapcase") { text in
      let cases = text.unicodeScalars.map(\.properties)
      return .string(cases.map { $0.isUppercase ? $0.lowercaseMapping : $0.uppercaseMapping }.joined())
    },
    "isdigit": all("isdigit") { $0.properties.numericType == .decimal || $0.properties.numericType == .digit },
    "isdecimal": all("isdecimal") { $0.properties.numericType == .decimal },
    "isnumeric": all("isnumeric") { $0.properties.numericType != nil },
    "isalpha": all("isalpha") { $0.isPythonAlpha },
    "isalnum": all("isalnum") { $0.isPythonAlpha || $0.properties.numericType != nil },
    "isspace": all("isspace") { $0.isPythonSpace },
    "isascii": plain("isascii") { text in .bool(text.utf8.allSatisfy { $0 < 0x80 }) },
    "islower": plain("islower") { .bool($0.isPythonLower) },
    "isupper": plain("isupper") { .bool($0.isPythonUpper) },
    "strip": strip("strip", left: true, right: true),
    "lstrip": strip("lstrip", left: true, right: false),
    "rstrip": strip("rstrip", left: false, right: true),
    "startswith": affix("startswith") { $0.utf8.starts(with: $1.utf8) },
    "endswith": affix("endswith") { $0.utf8.reversed().starts(with: $1.utf8.reversed()) },
    "removeprefix": {
      let (text, prefix) = (try $0.text(), try text($1.bind("removeprefix", "prefix", required: 1)[0]!))
      return .string(text.utf8.starts(with: prefix.utf8) ? String(text.utf8.dropFirst(prefix.utf8.count))! : text)
    },
    "removesuffix": {
      let (text, suffix) = (try $0.text(), try text($1.bind("removesuffix", "suffix", required: 1)[0]!))
      let ends = text.utf8.reversed().starts(with: suffix.utf8.reversed())
      return .string(ends ? String(text.utf8.dropLast(suffix.utf8.count))! : text)
    },
    "split": split("split", fromRight: false),
    "rsplit": split("rsplit", fromRight: true),
    "splitlines": {
      let keeps = try $1.bind("splitlines", "keepends")[0]?.isTrue() ?? false
      return .list(try $0.text().pythonLines(keepsEnds: keeps).map { .string($0) })
    },
    "partition": partition("partition", fromRight: false),
    "rpartition": partition("rpartition", fromRight: true),
    "replace": {
      let arguments = try $1.bind("replace", "old", "new", "count", required: 2)
      let count = try arguments[2].map(integer)
      return .string(try $0.text().pythonReplacing(text(arguments[0]!), with: text(arguments[1]!), count: count ?? -1))
    },
    "find": search("find", fromRight: false, orFail: false),
    "rfind": search("rfind", fromRight: true, orFail: false),
    "index": search("index", fromRight: false, orFail: true),
    "rindex": search("rindex", fromRight: true, orFail: true),
    "count": {
      let arguments = try $1.bind("count", "sub", "start", "end", required: 1)
      let (part, offset) = try window($0, arguments[1], arguments[2])
      let sought = try text(arguments[0]!)
      if sought.isEmpty { return .int(offset == nil ? 0 : part.count + 1) }
      return .int(String(scalars: part).byteRanges(of: sought).count)
    },
    "join": {
      let separator = try $0.text()
      let items = try $1.bind("join", "iterable", required: 1)[0]!.items()
      return .string(try items.map { try text($0) }.joinedWithinLimits(separator))
    },
    "format": { .string(try PythonFormat.braces($0.text(), $1)) },
    "ljust": pad("ljust") { (0, $0) },
    "rjust": pad("rjust") { ($0, 0) },
    "center": pad("center") { spare, width in spare.centered(width) },
    "zfill": {
      let text = try $0.text()
      let width = try integer($1.bind("zfill", "width", required: 1)[0]!)
      let sign = text.hasPrefix("-") || text.hasPrefix("+") ? String(text.prefix(1)) : ""
      let spare = try padding(width - text.unicodeScalars.count)
      return .string(sign + String(repeating: "0", count: spare) + text.dropFirst(sign.count))
    },
    "expandtabs": {
      let size = try $1.bind("expandtabs", "tabsize")[0].map(integer) ?? 8
      return .string(try $0.text().expandingTabs(try padding(size)))
    },
  ]

  // MARK: - Arguments

  static func text(_ value: JinjaValue) throws -> String {
    guard case .string(let text) = try value.defined() else { throw failure("a string is needed here, not a \(value.typeName).") }
    return text
  }

  static func integer(_ value: JinjaValue) throws -> Int {
    guard let integer = try value.defined().integer else { throw failure("an integer is needed here, not a \(value.typeName).") }
    return integer
  }

  /// A number of characters to add, which is bounded.
  static func padding(_ count: Int) throws -> Int {
    guard count <= JinjaLimits.text / 64 else { throw failure("a width of \(count) is too large.") }
    return max(0, count)
  }

  // MARK: - Families of methods

  private static func plain(_ name: String, _ body: @escaping @Sendable (String) -> JinjaValue) -> JinjaMethod {
    { value, arguments in
      _ = try arguments.bind(name)
      return body(try value.text())
    }
  }

  private static func all(_ name: String, _ test: @escaping @Sendable (Unicode.Scalar) -> Bool) -> JinjaMethod {
    plain(name) { .bool(!$0.isEmpty && $0.unicodeScalars.allSatisfy(test)) }
  }

  private static func strip(_ name: String, left: Bool, right: Bool) -> JinjaMethod {
    { value, arguments in
      let characters = try arguments.bind(name, "chars")[0]
      let set = try characters.flatMap { $0.isNone ? nil : Set(try text($0).unicodeScalars) }
      return .string(try value.text().pythonStripped(of: set, left: left, right: right))
    }
  }

  private static func affix(_ name: String, _ test: @escaping @Sendable (String, String) -> Bool) -> JinjaMethod {
    { value, arguments in
      let arguments = try arguments.bind(name, "affix", "start", "end", required: 1)
      let (part, offset) = try window(value, arguments[1], arguments[2])
      guard offset != nil else { return .bool(false) }
      let whole = String(scalars: part)
      if case .tuple(let options) = arguments[0]! {
        return .bool(try options.items.contains { test(whole, try text($0)) })
      }
      return .bool(test(whole, try text(arguments[0]!)))
    }
  }

  private static func split(_ name: String, fromRight: Bool) -> JinjaMethod {
    { value, arguments in
      let arguments = try arguments.bind(name, "sep", "maxsplit")
      let limit = try arguments[1].map(integer) ?? -1
      let whole = try value.text()
      guard let separator = arguments[0], !separator.isNone else {
        return .list(whole.splitAtSpaces(limit: limit, fromRight: fromRight).map { .string($0) })
      }
      let sought = try text(separator)
      guard !sought.isEmpty else { throw failure("'\(name)' cannot split at an empty string.") }
      return .list(whole.split(at: sought, limit: limit, fromRight: fromRight).map { .string($0) })
    }
  }

  private static func partition(_ name: String, fromRight: Bool) -> JinjaMethod {
    { value, arguments in
      let separator = try text(arguments.bind(name, "sep", required: 1)[0]!)
      guard !separator.isEmpty else { throw failure("'\(name)' cannot split at an empty string.") }
      let whole = try value.text()
      let parts = whole.split(at: separator, limit: 1, fromRight: fromRight)
      if parts.count == 2 { return .tuple([.string(parts[0]), .string(separator), .string(parts[1])]) }
      return .tuple((fromRight ? ["", "", whole] : [whole, "", ""]).map { .string($0) })
    }
  }

  /// The part of a string between two optional indices, and where it starts (nil if it starts after the end).
  private static func window(
    _ value: JinjaValue, _ start: JinjaValue?, _ end: JinjaValue?
  ) throws -> (part: ArraySlice<Unicode.Scalar>, offset: Int?) {
    let scalars = try value.text().scalars
    func bound(_ value: JinjaValue?, _ standard: Int) throws -> Int {
      guard let value, !value.isNone else { return standard }
      let index = try integer(value)
      return index < 0 ? max(0, index.addingReportingOverflow(scalars.count).partialValue) : index
    }
    let first = try bound(start, 0)
    let last = min(try bound(end, scalars.count), scalars.count)
    guard first <= scalars.count, first <= last else { return ([], nil) }
    return (scalars[first..<last], first)
  }

  private static func search(_ name: String, fromRight: Bool, orFail: Bool) -> JinjaMethod {
    { value, arguments in
      let arguments = try arguments.bind(name, "sub", "start", "end", required: 1)
      let (part, offset) = try window(value, arguments[1], arguments[2])
      let sought = try text(arguments[0]!)
      if let offset {
        let whole = String(scalars: part)
        let position = fromRight ? whole.lastByteOffset(of: sought) : whole.firstByteOffset(of: sought)
        if let position { return .int(offset + String(whole.utf8.prefix(position))!.unicodeScalars.count) }
      }
      if orFail { throw failure("'\(sought)' is not in the string.") }
      return .int(-1)
    }
  }

  private static func pad(_ name: String, _ sides: @escaping @Sendable (Int) -> (Int, Int)) -> JinjaMethod {
    pad(name) { spare, _ in sides(spare) }
  }

  private static func pad(_ name: String, _ sides: @escaping @Sendable (Int, Int) -> (Int, Int)) -> JinjaMethod {
    { value, arguments in
      let arguments = try arguments.bind(name, "width", "fillchar", required: 1)
      let fill = try arguments[1].map(text) ?? " "
      guard fill.unicodeScalars.count == 1 else { throw failure("'\(name)' fills with one character, not with '\(fill)'.") }
      let whole = try value.text()
      let width = try integer(arguments[0]!)
      let (left, right) = sides(try padding(width - whole.unicodeScalars.count), width)
      return .string(String(repeating: fill, count: left) + whole + String(repeating: fill, count: right))
    }
  }
}

extension Int {
  /// How many characters `str.center` puts on either side when this many are spare.
  func centered(_ width: Int) -> (Int, Int) {
    let left = self / 2 + (self & width & 1)
    return (left, self - left)
  }
}
