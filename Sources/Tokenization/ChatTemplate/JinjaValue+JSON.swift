import JSON

extension JinjaValue {
  init(_ value: JSONValue) {
    switch value {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .int(let value): self = .int(value)
    case .double(let value): self = .float(value)
    case .string(let value): self = .string(value)
    case .array(let values): self = .list(values.map { JinjaValue($0) })
    case .object(let object): self = .dictionary(JinjaDictionary(object))
    }
  }
}

extension JinjaDictionary {
  convenience init(_ object: JSONObject) {
    self.init()
    // A string is always a possible key.
    for (key, value) in object.pairs { try? set(.string(key), JinjaValue(value)) }
  }
}

/// The options of the `tojson` filter, which are those of Python's `json.dumps`.
struct JinjaJSONWriter {
  var ensuresASCII = false
  var indent: String?
  var itemSeparator: String
  var keySeparator: String
  var sortsKeys = false
  private(set) var text = ""

  init(ensuresASCII: Bool, indent: String?, separators: (item: String, key: String)?, sortsKeys: Bool) {
    (self.ensuresASCII, self.indent, self.sortsKeys) = (ensuresASCII, indent, sortsKeys)
    itemSeparator = separators?.item ?? (indent == nil ? ", " : ",")
    keySeparator = separators?.key ?? ": "
  }

  mutating func write(_ value: JinjaValue, level: Int = 0) throws {
    switch value {
    case .none: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .int(let value): text += String(value)
    case .float(let value): text += Self.text(of: value)
    case .string(let value): write(string: value)
    case .list(let array), .tuple(let array):
      try writeItems(array.items, open: "[", close: "]", level: level) { try $0.write($1, level: level + 1) }
    case .dictionary(let dictionary):
      var pairs = Array(zip(dictionary.keys, dictionary.values))
      if sortsKeys { pairs = try pairs.pythonSorted { try $0.0.isLess(than: $1.0) } }
      try writeItems(pairs, open: "{", close: "}", level: level) {
        $0.write(string: try Self.key($1.0))
        $0.text += $0.keySeparator
        try $0.write($1.1, level: level + 1)
      }
    default: throw failure("a value of type \(value.typeName) cannot be written as JSON.")
    }
  }

  private mutating func writeItems<T>(
    _ items: [T], open: String, close: String, level: Int, _ write: (inout Self, T) throws -> Void
  ) throws {
    text += open
    for (i, item) in items.enumerated() {
      if i > 0 { text += itemSeparator }
      newLine(level + 1)
      try write(&self, item)
    }
    if !items.isEmpty { newLine(level) }
    text += close
  }

  private mutating func newLine(_ level: Int) {
    guard let indent else { return }
    text += "\n" + String(repeating: indent, count: level)
  }

  private static func text(of value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return value.pythonText
  }

  private static func key(_ key: JinjaValue) throws -> String {
    switch key {
    case .string(let text): text
    case .none: "null"
    case .bool(let value): value ? "true" : "false"
    case .int(let value): String(value)
    case .float(let value): text(of: value)
    default: throw failure("a key of type \(key.typeName) cannot be written as JSON.")
    }
  }

  private mutating func write(string: String) {
    var out = "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case "\u{8}": out += "\\b"
      case "\u{C}": out += "\\f"
      default:
        if scalar.value < 0x20 || (ensuresASCII && scalar.value > 0x7E) {
          for unit in String(scalar).utf16 { out += "\\u" + String(unit, radix: 16).leftPadded(to: 4, with: "0") }
        } else {
          out.unicodeScalars.append(scalar)
        }
      }
    }
    text += out + "\""
  }
}
