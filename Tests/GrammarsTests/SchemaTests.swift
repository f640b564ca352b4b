import Foundation
import Grammars
import JSON
import TestSupport
import Testing

/// JSON schemas against Python's `jsonschema`.
@Suite struct SchemaTests {
  static func entries() throws -> [(schema: JSONValue, valid: [String], invalid: [String])] {
    try JSONValue(parsing: Data(contentsOf: fixture("grammars/schemas.json"))).array!.map {
      ($0["schema"]!, $0["valid"]!.strings, $0["invalid"]!.strings)
    }
  }

  @Test func acceptsValidAndRefusesInvalidValues() throws {
    let entries = try Self.entries()
    #expect(entries.count > 60)
    for entry in entries {
      let automaton = try Recogniser(.jsonSchema(entry.schema.text()))
      for text in entry.valid {
        #expect(automaton.matches(text.utf8), "\(entry.schema.text()) should take \(text)")
        // However it is laid out.
        let value = try JSONValue(parsing: text)
        if text.allSatisfy({ $0 != "e" && $0 != "E" || value.double == nil }) {
          for style in [JSONStyle.python, .indented(2)] {
            #expect(automaton.matches(value.bytes(style)), "\(entry.schema.text()) should take \(value.text(style))")
          }
        }
        #expect(!automaton.matches((text + "}").utf8) && !automaton.matches((text + " ").utf8))
      }
      for text in entry.invalid { #expect(!automaton.matches(text.utf8), "\(entry.schema.text()) should not take \(text)") }
    }
  }

  /// Integers and decimals on both sides of every bound.
  @Test func rangesAreExact() throws {
    var random = SeededGenerator(state: 3)
    for round in 0..<150 {
      let scale = [1, 1, 10, 100][round % 4]
      let bounds = [Int.random(in: -1200...1200, using: &random), Int.random(in: -1200...1200, using: &random)].sorted()
      let (isStrictBelow, isStrictAbove) = (Bool.random(using: &random), Bool.random(using: &random))
      var schema: JSONObject = ["type": scale == 1 ? "integer" : "number"]
      schema[isStrictBelow ? "exclusiveMinimum" : "minimum"] = .double(Double(bounds[0]) / Double(scale))
      if round % 5 > 0 { schema[isStrictAbove ? "exclusiveMaximum" : "maximum"] = .double(Double(bounds[1]) / Double(scale)) }
      guard let automaton = try? Recogniser(.jsonSchema(JSONValue.object(schema).text())) else {
        #expect(bounds[1] - bounds[0] <= 1)
        continue
      }
      for near in bounds + [0, 10, 100, -10, -100, 999, 1000] {
        for value in near - 12...near + 12 {
          let isAbove = value > bounds[0] || value == bounds[0] && !isStrictBelow
          let isBelow = round % 5 == 0 || value < bounds[1] || value == bounds[1] && !isStrictAbove
          var text = String(abs(value) / scale)
          if scale > 1 {
            let digits = String(abs(value) % scale)
            text += "." + String(repeating: "0", count: String(scale).count - 1 - digits.count) + digits
          }
          for tail in scale == 1 || value == 0 ? [""] : ["", "0"] {
            let written = (value < 0 ? "-" : "") + text + tail
            #expect(automaton.matches(written.utf8) == (isAbove && isBelow), "\(JSONValue.object(schema).text()): \(written)")
          }
        }
      }
    }
  }

  @Test func whiteSpaceIsBounded() throws {
    let automaton = try Recogniser(.jsonSchema(#"{"type":"object"}"#))
    func text(_ spaces: Int) -> String { "{" + String(repeating: " ", count: spaces) + "\"a\":1}" }
    #expect(automaton.matches(text(40).utf8) && !automaton.matches(text(41).utf8) && !automaton.matches("{\n\n}".utf8))
  }

  /// Names with other spellings are no way around a property's schema.
  @Test func namesHaveOneSpelling() throws {
    let automaton = try Recogniser(
      .jsonSchema(#"{"properties":{"a":{"type":"null"}},"additionalProperties":true}"#))
    #expect(automaton.matches(#"{"a":null,"b":1}"#.utf8) && automaton.matches(#"{"aa":1}"#.utf8))
    #expect(!automaton.matches(#"{"a":1}"#.utf8) && !automaton.matches(#"{"\u0061":1}"#.utf8))
  }

  static let refused: [(String, String)] = [
    ("{", "invalid JSON"), ("5", "must be an object or a boolean"), (#"{"type":"text"}"#, "type \"text\" is not known"),
    (#"{"not":{}}"#, "keyword not "), (#"{"uniqueItems":true}"#, "keyword uniqueItems"),
    (#"{"multipleOf":2}"#, "keyword multipleOf"),
    (#"{"patternProperties":{}}"#, "keyword patternProperties"), (#"{"minProperties":1}"#, "keyword minProperties"),
    (#"{"if":{}}"#, "keyword if"), (#"{"typ":"string"}"#, "keyword typ "), (#"{"format":"regex"}"#, "format \"regex\""),
    (#"{"pattern":"a","minLength":1}"#, "beside a length"), (#"{"pattern":"(?=a)"}"#, "lookahead"),
    (#"{"$ref":"http://x"}"#, "$ref"), (##"{"$ref":"#/nowhere"}"##, "points at nothing"), (#"{"enum":[]}"#, "matches no text"),
    (##"{"$ref":"#"}"##, "matches no text"), (##"{"allOf":[{"$ref":"#"}]}"##, "without an end"), ("false", "matches no text"),
    (#"{"type":"integer","minimum":3,"maximum":2}"#, "matches no text"),
    (#"{"type":"string","minLength":3,"maxLength":2}"#, "no text"),
    (#"{"oneOf":[{"type":"integer"},{"type":"number"}]}"#, "oneOf"), (#"{"minLength":-1}"#, "minLength"),
    (##"{"properties":{"a":{"$ref":"#"}},"required":["a"]}"##, "matches no text"), (#"{"anyOf":[]}"#, "anyOf"),
    (#"{"type":"array","minItems":3,"maxItems":2}"#, "matches no text"),
    (#"{"required":["a"],"properties":{"a":false}}"#, "no text"),
    (
      ##"{"$ref":"#/$defs/d0","$defs":{"d25":true"##
        + (1...25).map { ##","d\##($0 - 1)":{"allOf":[{"$ref":"#/$defs/d\##($0)"},{"$ref":"#/$defs/d\##($0)"}]}"## }.joined()
        + "}}",
      "more than 100000 schemas"
    ),
    (String(repeating: #"{"items":"#, count: 200) + "{}" + String(repeating: "}", count: 200), "nested deeper"),
  ]

  @Test func refusesByName() {
    for (schema, words) in Self.refused {
      let error = #expect(throws: GrammarError.self, "\(schema)") { try Recogniser(.jsonSchema(schema)) }
      #expect(error?.description.contains(words) ?? false, "\(schema): \(error?.description ?? "")")
    }
  }
}

extension JSONValue {
  var strings: [String] { array!.map { $0.string! } }
}
