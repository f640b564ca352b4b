/// The methods of Python's types, but for those that change a value.
enum JinjaMethods {
  static let dictionary: [String: JinjaMethod] = [
    "keys": { .object(JinjaView("dict_keys", try of($0, "keys", $1).keys)) },
    "values": { .object(JinjaView("dict_values", try of($0, "values", $1).values)) },
    "items": { .object(JinjaView("dict_items", try of($0, "items", $1).pairs)) },
    "copy": { .dictionary(try of($0, "copy", $1)) },
    "get": {
      let arguments = try $1.bind("get", "key", "default", required: 1)
      return try dictionary($0).get(arguments[0]!) ?? arguments[1] ?? .none
    },
  ]

  static let sequence: [String: JinjaMethod] = [
    "index": {
      let sought = try $1.bind("index", "value", required: 1)[0]!
      for (i, item) in try $0.items().enumerated() where try item.isEqual(to: sought) { return .int(i) }
      throw failure("the sought value is not in the \($0.typeName).")
    },
    "count": {
      let sought = try $1.bind("count", "value", required: 1)[0]!
      return .int(try $0.items().filter { try $0.isEqual(to: sought) }.count)
    },
    "copy": { value, _ in value },
  ]

  static let float: [String: JinjaMethod] = [
    "is_integer": { value, _ in .bool(value.number.map { $0.double == $0.double.rounded() } ?? false) }
  ]

  private static func dictionary(_ value: JinjaValue) throws -> JinjaDictionary {
    guard case .dictionary(let dictionary) = value else { throw failure("a dict is needed here, not a \(value.typeName).") }
    return dictionary
  }

  private static func of(_ value: JinjaValue, _ name: String, _ arguments: JinjaArguments) throws -> JinjaDictionary {
    _ = try arguments.bind(name)
    return try dictionary(value)
  }
}
