import JSON

/// Kinds of JSON values.
struct SchemaTypes: OptionSet {
  let rawValue: Int

  static let null = Self(rawValue: 1)
  static let boolean = Self(rawValue: 2)
  static let integer = Self(rawValue: 4)
  /// Numbers that are no integers; `number` is both.
  private static let fractional = Self(rawValue: 8)
  static let number: Self = [.integer, .fractional]
  static let string = Self(rawValue: 16)
  static let array = Self(rawValue: 32)
  static let object = Self(rawValue: 64)
  static let all: Self = [.null, .boolean, .number, .string, .array, .object]

  private static let named: [(name: String, type: Self)] = [
    ("null", .null), ("boolean", .boolean), ("number", .number), ("integer", .integer), ("string", .string), ("array", .array),
    ("object", .object),
  ]

  /// Keywords that speak of one type.
  static let keywords: [(names: Set<String>, type: Self)] = [
    (["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], .number),
    (["minLength", "maxLength", "pattern", "format"], .string),
    (["items", "prefixItems", "additionalItems", "minItems", "maxItems"], .array),
    (["properties", "required", "additionalProperties"], .object),
  ]

  init(rawValue: Int) { self.rawValue = rawValue }

  /// The value of `type`: a name, or several.
  init(_ value: JSONValue) throws(GrammarError) {
    var types: Self = []
    for name in value.array ?? [value] {
      guard let type = Self.named.first(where: { .string($0.name) == name })?.type else {
        throw GrammarError("the JSON schema's type \(name.text()) is not known.")
      }
      types.formUnion(type)
    }
    self = types
  }

  /// Those a schema allows.
  /// - Parameter infers: without `type`, whether to take only those that the schema's keywords speak of.
  init(of schema: JSONObject, infers: Bool) throws(GrammarError) {
    if let type = schema["type"] {
      self = try Self(type)
      return
    }
    let spoken = Self.keywords.filter { entry in infers && schema.keys.contains { entry.names.contains($0) } }
    self = spoken.isEmpty ? .all : spoken.reduce([]) { $0.union($1.type) }
  }

  var names: [String] {
    Self.named.compactMap { $0.name == "integer" && contains(.number) || !contains($0.type) ? nil : $0.name }
  }

  func admits(_ value: JSONValue) -> Bool {
    switch value {
    case .null: contains(.null)
    case .bool: contains(.boolean)
    case .int: contains(.integer)
    case .double(let double): contains(double == double.rounded() ? Self.integer : .number)
    case .string: contains(.string)
    case .array: contains(.array)
    case .object: contains(.object)
    }
  }
}
