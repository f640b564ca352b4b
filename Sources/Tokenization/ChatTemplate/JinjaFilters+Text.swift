extension JinjaFilters {
  /// Filters on text.
  static let text: [String: Filter] = [
    "string": { _, value, _ in .string(try value.text()) },
    "safe": { _, value, _ in .string(try value.text()) },
    "e": escape, "escape": escape, "forceescape": escape,
    "upper": plain("upper") { $0.uppercased() },
    "lower": plain("lower") { $0.pythonLowercased() },
    "capitalize": plain("capitalize") { $0.pythonCapitalized() },
    "title": plain("title", titled),
    "trim": { _, value, arguments in
      let characters = try arguments.bind("trim", "chars")[0]
      let set = try characters.flatMap { $0.isNone ? nil : Set(try JinjaMethods.text($0).unicodeScalars) }
      return .string(try value.text().pythonStripped(of: set))
    },
    "replace": { _, value, arguments in
      let arguments = try arguments.bind("replace", "old", "new", "count", required: 2)
      let count = try arguments[2].flatMap { $0.isNone ? nil : try JinjaMethods.integer($0) } ?? -1
      return .string(try value.text().pythonReplacing(arguments[0]!.text(), with: arguments[1]!.text(), count: count))
    },
    "indent": indent,
    "center": { _, value, arguments in
      let width = try arguments.bind("center", "width")[0].map(JinjaMethods.integer) ?? 80
      let text = try value.text()
      let (left, right) = try JinjaMethods.padding(width - text.unicodeScalars.count).centered(width)
      return .string(String(repeating: " ", count: left) + text + String(repeating: " ", count: right))
    },
    "truncate": truncate,
    "wordcount": { _, value, _ in
      .int(
        try value.text().unicodeScalars
          .split { !$0.isPythonAlpha && $0.properties.numericType == nil && $0 != "_" }.count)
    },
    "format": { _, value, arguments in
      guard arguments.keyword.isEmpty || arguments.positional.isEmpty else {
        throw failure("'format' takes values by position or by name, not both.")
      }
      let named = JinjaDictionary()
      for (name, value) in arguments.keyword { try named.set(.string(name), value) }
      let values = arguments.keyword.isEmpty ? JinjaValue.tuple(arguments.positional) : .dictionary(named)
      return .string(try PythonFormat.percent(value.text(), values))
    },
    "urlencode": { _, value, _ in
      switch value {
      case .dictionary(let dictionary):
        return .string(try zip(dictionary.keys, dictionary.values).map { try query($0, $1) }.joined(separator: "&"))
      case .string, .none, .bool, .int, .float: return .string(percentEncoded(try value.text(), keeping: "/"))
      default:
        return .string(
          try value.items().map { pair in
            let items = try pair.items()
            guard items.count == 2 else { throw failure("'urlencode' needs pairs of name and value.") }
            return try query(items[0], items[1])
          }.joined(separator: "&"))
      }
    },
  ]

  private static func plain(_ name: String, _ body: @escaping @Sendable (String) -> String) -> Filter {
    { _, value, arguments in
      _ = try arguments.bind(name)
      return .string(body(try value.text()))
    }
  }

  private static let escape: Filter = { _, value, _ in
    var out = ""
    for scalar in try value.text().unicodeScalars {
      switch scalar {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "'": out += "&#39;"
      case "\"": out += "&#34;"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return .string(out)
  }

  /// A capital after each run of hyphens, spaces and opening brackets.
  @Sendable private static func titled(_ text: String) -> String {
    var out = ""
    var startsWord = true
    var word = ""
    func flush() { out += word.pythonLowercased(); word = "" }
    for scalar in text.unicodeScalars {
      let separates = scalar.isPythonSpace || "-({[<".unicodeScalars.contains(scalar)
      if separates || startsWord {
        flush()
        out += separates ? String(scalar) : scalar.properties.uppercaseMapping
      } else {
        word.unicodeScalars.append(scalar)
      }
      startsWord = separates
    }
    flush()
    return out
  }

  private static let indent: Filter = { _, value, arguments in
    let arguments = try arguments.bind("indent", "width", "first", "blank")
    let indentation: String
    switch arguments[0] {
    case .string(let text)?: indentation = text
    case let width: indentation = String(repeating: " ", count: try JinjaMethods.padding(width.map(JinjaMethods.integer) ?? 4))
    }
    var lines = (try JinjaMethods.text(value) + "\n").pythonLines()
    let keepsBlank = try arguments[2]?.isTrue() ?? false
    for i in lines.indices.dropFirst() where keepsBlank || !lines[i].isEmpty { lines[i] = indentation + lines[i] }
    let isFirst = try arguments[1]?.isTrue() ?? false
    return .string((isFirst ? indentation : "") + (try lines.joinedWithinLimits("\n")))
  }

  private static let truncate: Filter = { _, value, arguments in
    let arguments = try arguments.bind("truncate", "length", "killwords", "end", "leeway")
    let length = try arguments[0].map(JinjaMethods.integer) ?? 255
    let end = try arguments[2].map(JinjaMethods.text) ?? "..."
    let leeway = try arguments[3].flatMap { $0.isNone ? nil : try JinjaMethods.integer($0) } ?? 5
    let kept = length - end.unicodeScalars.count
    guard kept >= 0, leeway >= 0 else { throw failure("'truncate' cannot cut to \(length) characters.") }
    if try value.count() <= length + leeway { return value }
    let text = try JinjaMethods.text(value)
    let head = String(scalars: text.unicodeScalars.prefix(kept))
    if try arguments[1]?.isTrue() ?? false { return .string(head + end) }
    return .string(head.split(at: " ", limit: 1, fromRight: true)[0] + end)
  }

  private static func query(_ name: JinjaValue, _ value: JinjaValue) throws -> String {
    func encoded(_ value: JinjaValue) throws -> String {
      percentEncoded(try value.text(), keeping: " ").split(at: " ", limit: -1, fromRight: false).joined(separator: "+")
    }
    return try encoded(name) + "=" + encoded(value)
  }

  private static func percentEncoded(_ text: String, keeping kept: Unicode.Scalar) -> String {
    var out = ""
    for byte in text.utf8 {
      let scalar = Unicode.Scalar(byte)
      let isPlain = byte < 0x80 && (scalar.isIdentifierPart || "-.~".unicodeScalars.contains(scalar) || scalar == kept)
      out += isPlain ? String(scalar) : "%" + String(byte, radix: 16, uppercase: true).leftPadded(to: 2, with: "0")
    }
    return out
  }
}
