import Foundation

/// Why a text is not JSON: what was found, and at which byte.
public struct JSONError: Error, Equatable, CustomStringConvertible {
  public var message: String
  public var offset: Int
  public var description: String { "invalid JSON at byte \(offset): \(message)" }
}

extension JSONValue {
  /// Parses a whole JSON text (RFC 8259), with the `NaN`, `Infinity` and `-Infinity` that Python writes.
  public init(parsing data: Data) throws(JSONError) {
    self = try [UInt8](data).withParser { parser throws(JSONError) in try parser.document() }
  }

  public init(parsing text: String) throws(JSONError) {
    self = try Array(text.utf8).withParser { parser throws(JSONError) in try parser.document() }
  }
}

extension [UInt8] {
  fileprivate func withParser(_ body: (inout JSONParser) throws(JSONError) -> JSONValue) throws(JSONError) -> JSONValue {
    var parser = JSONParser(bytes: self)
    return try body(&parser)
  }
}

private struct JSONParser {
  static let maximumDepth = 512

  let bytes: [UInt8]
  var offset = 0
  var depth = 0

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func document() throws(JSONError) -> JSONValue {
    let value = try value()
    skipSpace()
    guard offset == bytes.count else { throw error("text after the value") }
    return value
  }

  private func error(_ message: String) -> JSONError { JSONError(message: message, offset: offset) }

  private var next: UInt8? { offset < bytes.count ? bytes[offset] : nil }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { offset += 1 }
  }

  private mutating func value() throws(JSONError) -> JSONValue {
    skipSpace()
    guard let byte = next else { throw error("the text ends where a value should be") }
    switch byte {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "N"): return try word("NaN", .double(.nan))
    case UInt8(ascii: "I"): return try word("Infinity", .double(.infinity))
    default: return try number()
    }
  }

  private mutating func word(_ text: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    let length = text.utf8CodeUnitCount
    let matches = offset + length <= bytes.count
      && (0..<length).allSatisfy { bytes[offset + $0] == text.utf8Start[$0] }
    guard matches else { throw error("an unknown word") }
    offset += length
    return value
  }

  private mutating func enter() throws(JSONError) {
    depth += 1
    guard depth <= Self.maximumDepth else { throw error("nested deeper than \(Self.maximumDepth)") }
    offset += 1
  }

  private mutating func object() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var result = JSONObject()
    skipSpace()
    if next == UInt8(ascii: "}") { offset += 1; return .object(result) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw error("a key must be a string") }
      let key = try string()
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw error("':' is missing after a key") }
      offset += 1
      result[key] = try value()
      skipSpace()
      if next == UInt8(ascii: ",") { offset += 1; continue }
      guard next == UInt8(ascii: "}") else { throw error("',' or '}' is missing in an object") }
      offset += 1
      return .object(result)
    }
  }

  private mutating func array() throws(JSONError) -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var result: [JSONValue] = []
    skipSpace()
    if next == UInt8(ascii: "]") { offset += 1; return .array(result) }
    while true {
      result.append(try value())
      skipSpace()
      if next == UInt8(ascii: ",") { offset += 1; continue }
      guard next == UInt8(ascii: "]") else { throw error("',' or ']' is missing in an array") }
      offset += 1
      return .array(result)
    }
  }

  private mutating func string() throws(JSONError) -> String {
    offset += 1
    let start = offset
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { offset += 1 }
    if next == UInt8(ascii: "\"") {
      defer { offset += 1 }
      return String(decoding: bytes[start..<offset], as: UTF8.self)
    }
    var text = Array(bytes[start..<offset])
    while let byte = next {
      switch byte {
      case UInt8(ascii: "\""):
        offset += 1
        return String(decoding: text, as: UTF8.self)
      case UInt8(ascii: "\\"):
        offset += 1
        try escape(into: &text)
      case 0..<0x20:
        throw error("a control character in a string")
      default:
        text.append(byte)
        offset += 1
      }
    }
    throw error("a string has no end")
  }

  private mutating func escape(into text: inout [UInt8]) throws(JSONError) {
    guard let byte = next else { throw error("a string has no end") }
    offset += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hex4()
      if (0xD800..<0xDC00).contains(code), next == UInt8(ascii: "\\"), offset + 1 < bytes.count,
        bytes[offset + 1] == UInt8(ascii: "u")
      {
        let mark = offset
        offset += 2
        let low = try hex4()
        if (0xDC00..<0xE000).contains(low) { code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00) } else { offset = mark }
      }
      // A lone surrogate is no character: it becomes U+FFFD.
      text.append(contentsOf: String(Unicode.Scalar(code) ?? "\u{FFFD}").utf8)
    default: throw error("an unknown escape in a string")
    }
  }

  private mutating func hex4() throws(JSONError) -> UInt32 {
    guard offset + 4 <= bytes.count else { throw error("\\u needs four digits") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[offset])).hexDigitValue else { throw error("\\u needs four digits") }
      code = code << 4 | UInt32(digit)
      offset += 1
    }
    return code
  }

  private mutating func number() throws(JSONError) -> JSONValue {
    let start = offset
    if next == UInt8(ascii: "-") { offset += 1 }
    if next == UInt8(ascii: "I") { _ = try word("Infinity", .null); return .double(-.infinity) }
    let firstDigit = offset
    digits()
    guard offset > firstDigit else { offset = start; throw error("a value cannot start like this") }
    guard bytes[firstDigit] != UInt8(ascii: "0") || offset == firstDigit + 1 else { throw error("a number starts with 0") }
    var isInteger = true
    if next == UInt8(ascii: ".") {
      isInteger = false
      offset += 1
      let mark = offset
      digits()
      guard offset > mark else { throw error("digits are missing after the point") }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isInteger = false
      offset += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { offset += 1 }
      let mark = offset
      digits()
      guard offset > mark else { throw error("digits are missing in the exponent") }
    }
    let text = String(decoding: bytes[start..<offset], as: UTF8.self)
    if isInteger, let value = Int(text) { return .int(value) }
    return .double(Double(text)!)
  }

  private mutating func digits() {
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { offset += 1 }
  }
}
