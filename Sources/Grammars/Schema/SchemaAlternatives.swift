import Foundation
import JSON

/// Rewrites schemas without references and combinations: to a list of plain ones, of which a value must satisfy any.
final class SchemaAlternatives {
  private static let maximumDepth = 64
  private static let maximumCount = 512
  /// Most schemas looked at: references can ask for the same one again and again.
  private static let maximumVisits = 100_000

  let document: JSONValue
  private var visits = 0

  init(document: JSONValue) { self.document = document }

  /// Say nothing about which values are valid.
  private static let annotations: Set<String> = [
    "title", "description", "default", "examples", "example", "$schema", "$id", "$comment", "deprecated", "readOnly",
    "writeOnly", "$defs", "definitions", "contentMediaType", "contentEncoding", "discriminator",
  ]
  static let combinations: Set<String> = ["$ref", "allOf", "anyOf", "oneOf"]

  /// The schema without its annotations.
  static func essence(_ schema: JSONObject) -> JSONObject {
    JSONObject(schema.pairs.filter { !annotations.contains($0.key) && !$0.key.hasPrefix("x-") }.map { ($0.key, $0.value) })
  }

  /// `depth`: how many references were followed.
  func plain(_ schema: JSONValue, depth: Int = 0) throws(GrammarError) -> [JSONObject] {
    guard depth < Self.maximumDepth else { throw GrammarError("the JSON schema refers to itself without an end.") }
    visits += 1
    guard visits <= Self.maximumVisits else {
      throw GrammarError("the JSON schema combines more than \(Self.maximumVisits) schemas.")
    }
    switch schema {
    case .bool(true): return [[:]]
    case .bool(false): return []
    case .object(let object):
      let essence = Self.essence(object)
      var base = essence
      for key in Self.combinations { base[key] = nil }
      if let constant = base["const"] {
        base["const"] = nil
        base = try merge(base, ["enum": .array([constant])])
      }
      var result = [base]
      if let reference = essence["$ref"] {
        result = try product(result, plain(resolve(reference), depth: depth + 1))
      }
      for part in try list(essence, "allOf") { result = try product(result, plain(part, depth: depth + 1)) }
      if essence["anyOf"] != nil {
        var branches: [JSONObject] = []
        for branch in try list(essence, "anyOf") { branches += try plain(branch, depth: depth + 1) }
        result = try product(result, branches)
      }
      if essence["oneOf"] != nil {
        var branches: [[JSONObject]] = []
        for branch in try list(essence, "oneOf") { branches.append(try plain(branch, depth: depth + 1)) }
        try checkDisjoint(branches)
        result = try product(result, branches.flatMap { $0 })
      }
      return result
    default: throw GrammarError("a JSON schema must be an object or a boolean, but there is \(schema.kind) in it.")
    }
  }

  private func list(_ schema: JSONObject, _ key: String) throws(GrammarError) -> [JSONValue] {
    guard let value = schema[key] else { return [] }
    guard let list = value.array, !list.isEmpty else {
      throw GrammarError("\(key) of a JSON schema must be an array with at least one element.")
    }
    return list
  }

  /// What a `$ref` points at, in the same document.
  func resolve(_ reference: JSONValue) throws(GrammarError) -> JSONValue {
    guard let text = reference.string, text == "#" || text.hasPrefix("#/") else {
      throw GrammarError("the JSON schema's $ref \(reference.text()) is not supported; only #/… in the same schema is.")
    }
    var value = document
    for part in text.dropFirst().split(separator: "/") {
      let decoded = (part.removingPercentEncoding ?? String(part)).replacing("~1", with: "/").replacing("~0", with: "~")
      guard let next = value[decoded] ?? Int(decoded).flatMap({ index in
        value.array.flatMap { $0.indices.contains(index) ? $0[index] : nil }
      }) else { throw GrammarError("the JSON schema's $ref \(text) points at nothing.") }
      value = next
    }
    return value
  }

  // MARK: - Both of two

  private func product(_ a: [JSONObject], _ b: [JSONObject]) throws(GrammarError) -> [JSONObject] {
    guard a.count * b.count <= Self.maximumCount else {
      throw GrammarError("the JSON schema combines more than \(Self.maximumCount) alternatives.")
    }
    var result: [JSONObject] = []
    for first in a { for second in b { result.append(try merge(first, second)) } }
    return result
  }

  private func merge(_ a: JSONObject, _ b: JSONObject) throws(GrammarError) -> JSONObject {
    if a.isEmpty { return b }
    var result = a
    for (key, value) in b.pairs where key != "properties" && key != "additionalProperties" {
      guard let other = a[key], other != value else {
        result[key] = value
        continue
      }
      result[key] = try merge(key, other, value)
    }
    try mergeProperties(a, b, into: &result)
    return result
  }

  private func merge(_ key: String, _ a: JSONValue, _ b: JSONValue) throws(GrammarError) -> JSONValue {
    switch key {
    case "type":
      let (first, second) = (try SchemaTypes(a), try SchemaTypes(b))
      return .array(first.intersection(second).names.map(JSONValue.string))
    case "enum": return .array((a.array ?? []).filter { (b.array ?? []).contains($0) })
    case "required": return .array((a.array ?? []) + (b.array ?? []).filter { !(a.array ?? []).contains($0) })
    case "items", "additionalItems": return ["allOf": [a, b]]
    case "minimum", "exclusiveMinimum", "minLength", "minItems": return try extreme(key, a, b, >)
    case "maximum", "exclusiveMaximum", "maxLength", "maxItems": return try extreme(key, a, b, <)
    default: throw GrammarError("the JSON schema wants two values of \(key) at once, which is not supported.")
    }
  }

  private func extreme(
    _ key: String, _ a: JSONValue, _ b: JSONValue, _ isBetter: (Double, Double) -> Bool
  ) throws(GrammarError) -> JSONValue {
    guard let first = a.double, let second = b.double else { throw GrammarError("\(key) of a JSON schema must be a number.") }
    return isBetter(first, second) ? a : b
  }

  /// What one side says of all other properties also holds for those that only the other side names.
  private func mergeProperties(_ a: JSONObject, _ b: JSONObject, into result: inout JSONObject) throws(GrammarError) {
    let (first, second) = (a["properties"]?.object, b["properties"]?.object)
    let (firstRest, secondRest) = (a["additionalProperties"], b["additionalProperties"])
    func both(_ a: JSONValue?, _ b: JSONValue?) -> JSONValue? {
      guard let a, let b, a != b else { return a ?? b }
      return ["allOf": [a, b]]
    }
    if first != nil || second != nil {
      var properties: JSONObject = [:]
      for name in (first?.keys ?? []) + (second?.keys ?? []) where properties[name] == nil {
        properties[name] = both(first?[name] ?? firstRest, second?[name] ?? secondRest)
      }
      result["properties"] = .object(properties)
    }
    result["additionalProperties"] = both(firstRest, secondRest)
  }

  // MARK: - One of several

  /// `oneOf` is `anyOf` when no value satisfies two of its schemas; where that cannot be seen it is refused.
  private func checkDisjoint(_ branches: [[JSONObject]]) throws(GrammarError) {
    for (i, first) in branches.enumerated() {
      for second in branches[(i + 1)...] {
        for a in first {
          for b in second where try !areDisjoint(a, b) {
            throw GrammarError("oneOf of a JSON schema has branches that may hold at once; use anyOf.")
          }
        }
      }
    }
  }

  private func areDisjoint(_ a: JSONObject, _ b: JSONObject) throws(GrammarError) -> Bool {
    let (first, second) = (try SchemaTypes(of: a, infers: false), try SchemaTypes(of: b, infers: false))
    let common = first.intersection(second)
    if common.isEmpty { return true }
    if let values = a["enum"]?.array, let others = b["enum"]?.array { return !values.contains { others.contains($0) } }
    guard common == .object, let mine = a["properties"]?.object, let theirs = b["properties"]?.object else { return false }
    let required = (a["required"]?.array ?? []).filter { (b["required"]?.array ?? []).contains($0) }.compactMap(\.string)
    for name in required {
      guard let schema = mine[name], let other = theirs[name] else { continue }
      let (values, others) = (Self.constants(schema), Self.constants(other))
      if let values, let others, !values.contains(where: { others.contains($0) }) { return true }
    }
    return false
  }

  private static func constants(_ schema: JSONValue) -> [JSONValue]? {
    if let constant = schema["const"] { return [constant] }
    return schema["enum"]?.array
  }
}
