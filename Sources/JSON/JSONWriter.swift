import Foundation

/// How a value is laid out as text.
public struct JSONStyle: Sendable {
  public var itemSeparator: String
  public var keySeparator: String
  /// Spaces a level; nil keeps everything on one line.
  public var indent: Int?

  public init(itemSeparator: String, keySeparator: String, indent: Int? = nil) {
    (self.itemSeparator, self.keySeparator, self.indent) = (itemSeparator, keySeparator, indent)
  }

  /// No space at all: what travels over the wire.
  public static let compact = JSONStyle(itemSeparator: ",", keySeparator: ":")
  /// Python's `json.dumps(value, ensure_ascii=False)`.
  public static let python = JSONStyle(itemSeparator: ", ", keySeparator: ": ")

  /// Python's `json.dumps(value, ensure_ascii=False, indent=n)`.
  public static func indented(_ spaces: Int) -> JSONStyle {
    JSONStyle(itemSeparator: ",", keySeparator: ": ", indent: spaces)
  }
}

extension JSONValue {
  public func text(_ style: JSONStyle = .compact) -> String { String(decoding: bytes(style), as: UTF8.self) }
  public func data(_ style: JSONStyle = .compact) -> Data { Data(bytes(style)) }

  public func bytes(_ style: JSONStyle = .compact) -> [UInt8] {
    var out: [UInt8] = []
    write(style, level: 0, into: &out)
    return out
  }

  /// Appends this value's text. Doubles use the shortest text that reads back to the same value.
  public func write(_ style: JSONStyle, level: Int, into out: inout [UInt8]) {
    switch self {
    case .null: out.append(contentsOf: "null".utf8)
    case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
    case .int(let value): out.append(contentsOf: String(value).utf8)
    case .double(let value): out.append(contentsOf: Self.text(of: value).utf8)
    case .string(let value): Self.write(value, into: &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (i, value) in values.enumerated() {
        if i > 0 { out.append(contentsOf: style.itemSeparator.utf8) }
        style.newLine(level + 1, into: &out)
        value.write(style, level: level + 1, into: &out)
      }
      if !values.isEmpty { style.newLine(level, into: &out) }
      out.append(UInt8(ascii: "]"))
    case .object(let object):
      out.append(UInt8(ascii: "{"))
      for (i, pair) in object.pairs.enumerated() {
        if i > 0 { out.append(contentsOf: style.itemSeparator.utf8) }
        style.newLine(level + 1, into: &out)
        Self.write(pair.key, into: &out)
        out.append(contentsOf: style.keySeparator.utf8)
        pair.value.write(style, level: level + 1, into: &out)
      }
      if !object.isEmpty { style.newLine(level, into: &out) }
      out.append(UInt8(ascii: "}"))
    }
  }

  private static func text(of value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return value.description
  }

  private static func write(_ text: String, into out: inout [UInt8]) {
    out.append(UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""): out.append(contentsOf: #"\""#.utf8)
      case UInt8(ascii: "\\"): out.append(contentsOf: #"\\"#.utf8)
      case 0x0A: out.append(contentsOf: #"\n"#.utf8)
      case 0x0D: out.append(contentsOf: #"\r"#.utf8)
      case 0x09: out.append(contentsOf: #"\t"#.utf8)
      case 0x08: out.append(contentsOf: #"\b"#.utf8)
      case 0x0C: out.append(contentsOf: #"\f"#.utf8)
      case 0..<0x20:
        let hex = String(byte, radix: 16)
        out.append(contentsOf: (#"\u"# + String(repeating: "0", count: 4 - hex.count) + hex).utf8)
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}

extension JSONStyle {
  fileprivate func newLine(_ level: Int, into out: inout [UInt8]) {
    guard let indent else { return }
    out.append(0x0A)
    out.append(contentsOf: repeatElement(0x20, count: indent * level))
  }
}
