import Foundation
import JSON

/// A small validator of JSON schemas, straight from the definition of each keyword.
struct SchemaJudge {
  let document: JSONValue

  func holds(_ schema: JSONValue, _ value: JSONValue) -> Bool {
    if let bool = schema.bool { return bool }
    return schema.object!.pairs.allSatisfy { holds($0.key, $0.value, of: schema, value) }
  }

  private func holds(_ key: String, _ wanted: JSONValue, of schema: JSONValue, _ value: JSONValue) -> Bool {
    switch key {
    case "type": return (wanted.array ?? [wanted]).contains { isType($0.string!, value) }
    case "enum": return wanted.array!.contains(value)
    case "const": return wanted == value
    case "$ref":
      return holds(wanted.string!.split(separator: "/").dropFirst().reduce(document) { $0[String($1)]! }, value)
    case "anyOf": return wanted.array!.contains { holds($0, value) }
    case "oneOf": return wanted.array!.count { holds($0, value) } == 1
    case "allOf": return wanted.array!.allSatisfy { holds($0, value) }
    case "minimum": return value.double.map { $0 >= wanted.double! } ?? true
    case "maximum": return value.double.map { $0 <= wanted.double! } ?? true
    case "exclusiveMinimum": return value.double.map { $0 > wanted.double! } ?? true
    case "exclusiveMaximum": return value.double.map { $0 < wanted.double! } ?? true
    case "minLength": return value.string.map { $0.unicodeScalars.count >= wanted.int! } ?? true
    case "maxLength": return value.string.map { $0.unicodeScalars.count <= wanted.int! } ?? true
    case "pattern":
      guard let text = value.string else { return true }
      let expression = try! NSRegularExpression(pattern: wanted.string!)
      return expression.firstMatch(in: text, range: NSRange(text.startIndex..., in: text)) != nil
    case "minItems": return value.array.map { $0.count >= wanted.int! } ?? true
    case "maxItems": return value.array.map { $0.count <= wanted.int! } ?? true
    case "prefixItems": return zip(wanted.array!, value.array ?? []).allSatisfy { holds($0, $1) }
    case "items":
      return (value.array ?? []).dropFirst(schema["prefixItems"]?.array?.count ?? 0).allSatisfy { holds(wanted, $0) }
    case "required": return value.object.map { object in wanted.array!.allSatisfy { object[$0.string!] != nil } } ?? true
    case "properties":
      return wanted.object!.pairs.allSatisfy { name, part in value[name].map { holds(part, $0) } ?? true }
    case "additionalProperties":
      let named = Set(schema["properties"]?.object?.keys ?? [])
      return (value.object?.pairs ?? []).allSatisfy { named.contains($0.key) || holds(wanted, $0.value) }
    case "format", "title", "description", "default", "$defs", "definitions": return true
    default: fatalError("the judge does not know \(key)")
    }
  }

  private func isType(_ name: String, _ value: JSONValue) -> Bool {
    switch value {
    case .null: name == "null"
    case .bool: name == "boolean"
    case .int: name == "integer" || name == "number"
    case .double(let double): name == "number" || name == "integer" && double == double.rounded()
    case .string: name == "string"
    case .array: name == "array"
    case .object: name == "object"
    }
  }
}
