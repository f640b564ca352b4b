import JSON

/// Makes a grammar of JSON texts from a JSON schema.
///
/// Every text of the grammar satisfies the schema; not every text that does is in the grammar. Properties come in the
/// schema's order; an object whose `properties` are given has no others unless `additionalProperties` says so, and a schema
/// whose keywords all speak of one type means that type (both as in SGLang's grammar backend). Keywords that cannot be
/// enforced are refused by name.
final class SchemaCompiler {
  private static let maximumDepth = 100
  private static let maximumLength = 100_000

  private let builder: GrammarBuilder
  private let text: JSONText
  private let alternatives: SchemaAlternatives
  private var depth = 0
  /// Finished schemas by their text, and those in progress, which get a rule when they refer to themselves.
  private var known: [String: Int] = [:]
  private var open: [String: Int?] = [:]

  convenience init(_ source: String, _ builder: GrammarBuilder) throws(GrammarError) {
    do throws(JSONError) {
      self.init(document: try JSONValue(parsing: source), builder)
    } catch {
      throw GrammarError("the JSON schema is \(error).")
    }
  }

  private init(document: JSONValue, _ builder: GrammarBuilder) {
    (self.builder, text, alternatives) = (builder, JSONText(builder: builder), SchemaAlternatives(document: document))
  }

  func compile() throws(GrammarError) -> Int { try value(alternatives.document) }

  // MARK: - Any schema

  /// A value that satisfies the schema.
  private func value(_ schema: JSONValue) throws(GrammarError) -> Int {
    let key = schema.text()
    if let node = known[key] { return node }
    if let entry = open[key] {
      let rule = entry ?? builder.declareRule(key.count > 60 ? key.prefix(60) + "…" : key)
      open[key] = .some(rule)
      return try builder.rule(rule)
    }
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw GrammarError("the JSON schema is nested deeper than \(Self.maximumDepth).") }
    open.updateValue(nil, forKey: key)
    var node = try branches(schema)
    if case .some(.some(let rule)) = open.removeValue(forKey: key) {
      builder.define(rule, as: node)
      node = try builder.rule(rule)
    }
    known[key] = node
    return node
  }

  private func branches(_ schema: JSONValue) throws(GrammarError) -> Int {
    if let object = schema.object {
      let essence = SchemaAlternatives.essence(object)
      if essence.keys == ["$ref"] { return try value(alternatives.resolve(essence["$ref"]!)) }
      if essence.keys == ["anyOf"], let list = essence["anyOf"]?.array, !list.isEmpty {
        var nodes: [Int] = []
        for branch in list { nodes.append(try value(branch)) }
        return try builder.choice(nodes)
      }
    }
    var nodes: [Int] = []
    for plain in try alternatives.plain(schema) { nodes.append(try self.plain(plain)) }
    return try builder.choice(nodes)
  }

  // MARK: - Plain schemas

  private func plain(_ schema: JSONObject) throws(GrammarError) -> Int {
    try refuseUnknown(schema)
    let types = try SchemaTypes(of: schema, infers: true)
    if let values = schema["enum"] { return try enumeration(values, schema, types) }
    var nodes: [Int] = []
    if types.contains(.null) { nodes.append(try builder.literal("null")) }
    if types.contains(.boolean) { nodes += [try builder.literal("true"), try builder.literal("false")] }
    if types.contains(.integer) { nodes.append(try number(schema, isInteger: !types.contains(.number))) }
    if types.contains(.string) { nodes.append(try string(schema)) }
    if types.contains(.array) { nodes.append(try array(schema)) }
    if types.contains(.object) { nodes.append(try object(schema)) }
    return try builder.choice(nodes)
  }

  private func refuseUnknown(_ schema: JSONObject) throws(GrammarError) {
    for (key, value) in schema.pairs where key != "type" && key != "enum" {
      if SchemaTypes.keywords.contains(where: { $0.names.contains(key) }) { continue }
      // These ask for nothing.
      if key == "uniqueItems" && value == false || ["minProperties", "minContains"].contains(key) && value == 0 { continue }
      throw GrammarError("the JSON schema's keyword \(key) is not supported.")
    }
  }

  private func enumeration(_ values: JSONValue, _ schema: JSONObject, _ types: SchemaTypes) throws(GrammarError) -> Int {
    guard let values = values.array else { throw GrammarError("enum of a JSON schema must be an array, not \(values.kind).") }
    var rest = schema
    rest["enum"] = nil
    var allowed = values
    if rest["type"] != nil { allowed = values.filter { types.admits($0) } }
    if rest.keys.contains(where: { $0 != "type" }) {
      let other = SchemaCompiler(document: alternatives.document, GrammarBuilder())
      rest["type"] = nil
      var automaton = try Automaton(other.builder.finish(other.value(.object(rest))))
      // Keywords say nothing of values of other types.
      let spoken = try SchemaTypes(of: rest, infers: true)
      allowed = allowed.filter { !spoken.admits($0) || automaton.matches($0.bytes()) }
    }
    var nodes: [Int] = []
    for value in allowed { nodes.append(try text.constant(value)) }
    return try builder.choice(nodes)
  }

  // MARK: - Types

  private func number(_ schema: JSONObject, isInteger: Bool) throws(GrammarError) -> Int {
    func bound(_ key: String, isStrict: Bool) throws(GrammarError) -> DecimalBound? {
      guard let value = schema[key] else { return nil }
      guard let bound = DecimalBound(value, isStrict: isStrict) else {
        throw GrammarError("\(key) of a JSON schema must be a number, not \(value.kind).")
      }
      return bound
    }
    /// The stricter of two bounds.
    func stricter(
      _ key: String, _ strictKey: String, _ isStricter: (Double, Double) -> Bool
    ) throws(GrammarError) -> DecimalBound? {
      let (plain, strict) = (try bound(key, isStrict: false), try bound(strictKey, isStrict: true))
      guard let first = schema[key]?.double, let second = schema[strictKey]?.double else { return plain ?? strict }
      return isStricter(first, second) ? plain : strict
    }
    let low = try stricter("minimum", "exclusiveMinimum", >)
    let high = try stricter("maximum", "exclusiveMaximum", <)
    if !isInteger, low == nil, high == nil { return try text.number() }
    return try DecimalRange(builder: builder, isInteger: isInteger).node(from: low, to: high)
  }

  private func string(_ schema: JSONObject) throws(GrammarError) -> Int {
    let minimum = try count(schema, "minLength")
    let maximum = try count(schema, "maxLength")
    let pattern = schema["pattern"]
    let format = schema["format"]
    guard pattern == nil && format == nil || (minimum ?? 0) == 0 && maximum == nil else {
      throw GrammarError(
        "the JSON schema has \(pattern != nil ? "a pattern" : "a format") beside a length, which is not supported.")
    }
    guard pattern == nil || format == nil else {
      throw GrammarError("the JSON schema has a pattern beside a format, which is not supported.")
    }
    if let pattern {
      guard let pattern = pattern.string else { throw GrammarError("pattern of a JSON schema must be a string.") }
      return try text.string(matching: pattern, asWhole: false)
    }
    if let format {
      guard let pattern = format.string.flatMap({ SchemaFormats.patterns[$0] }) else {
        throw GrammarError(
          "the JSON schema's format \(format.text()) is not supported; known are "
            + "\(SchemaFormats.patterns.keys.sorted().joined(separator: ", ")).")
      }
      return try text.string(matching: pattern, asWhole: true)
    }
    return try text.string(minimum ?? 0, maximum)
  }

  private func array(_ schema: JSONObject) throws(GrammarError) -> Int {
    // Until draft 2020-12, `items` could be what `prefixItems` is now.
    let tuple = schema["prefixItems"]?.array ?? schema["items"]?.array
    guard let prefix = schema["prefixItems"] == nil ? tuple ?? [] : schema["prefixItems"]?.array else {
      throw GrammarError("prefixItems of a JSON schema must be an array.")
    }
    let further = schema["prefixItems"] == nil && tuple != nil ? schema["additionalItems"] : schema["items"]
    let minimum = try count(schema, "minItems") ?? 0
    let maximum = try count(schema, "maxItems")
    func item(_ schema: JSONValue) throws(GrammarError) -> Int { try builder.sequence([value(schema), text.space()]) }
    // As with properties, a tuple has no further items unless the schema says so.
    let rest = try item(further ?? .bool(tuple == nil))

    func tail(_ position: Int, isContinued: Bool) throws(GrammarError) -> Int {
      try text.list(
        rest, max(0, minimum - position), maximum.map { $0 - position }, isContinued: isContinued)
    }
    guard maximum.map({ minimum <= $0 }) ?? true else { return try builder.never() }
    let shown = min(prefix.count, maximum ?? prefix.count)
    var node = try tail(shown, isContinued: shown > 0)
    for position in (0..<shown).reversed() {
      let element = try item(prefix[position])
      node = try builder.sequence((position > 0 ? [text.comma()] : []) + [element, node])
      if position >= minimum { node = try builder.optional(node) }
    }
    return try text.enclosed("[", node, "]")
  }

  private func object(_ schema: JSONObject) throws(GrammarError) -> Int {
    guard let properties = (schema["properties"] ?? [:]).object else {
      throw GrammarError("properties of a JSON schema must be an object.")
    }
    guard let required = (schema["required"] ?? []).array, required.allSatisfy({ $0.string != nil }) else {
      throw GrammarError("required of a JSON schema must be an array of strings.")
    }
    let names = required.compactMap(\.string)
    let isOpen = schema["properties"] == nil
    let others = schema["additionalProperties"] ?? .bool(isOpen)
    var members: [(name: String, schema: JSONValue)] = properties.pairs.map { ($0.key, $0.value) }
    for name in names where properties[name] == nil && !members.contains(where: { $0.name == name }) {
      members.append((name, schema["additionalProperties"] ?? .bool(true)))
    }
    // From the end: what may follow when something comes before, and when nothing does.
    var (after, first) = (try builder.empty(), try builder.empty())
    if others != .bool(false) {
      let key = members.isEmpty ? try text.string() : try text.string(except: members.map(\.name))
      let pair = try text.pair(key, value(others))
      after = try text.list(pair, 0, nil, isContinued: true)
      first = try text.list(pair, 0, nil, isContinued: false)
    }
    for member in members.reversed() {
      let pair = try text.pair(builder.literal(JSONValue.string(member.name).text()), value(member.schema))
      let isRequired = names.contains(member.name)
      let (next, begin) = (try builder.sequence([text.comma(), pair, after]), try builder.sequence([pair, after]))
      first = isRequired ? begin : try builder.choice([begin, first])
      after = isRequired ? next : try builder.choice([next, after])
    }
    return try text.enclosed("{", first, "}")
  }

  private func count(_ schema: JSONObject, _ key: String) throws(GrammarError) -> Int? {
    guard let value = schema[key] else { return nil }
    guard let count = value.int, (0...Self.maximumLength).contains(count) else {
      throw GrammarError("\(key) of a JSON schema must be an integer from 0 to \(Self.maximumLength), not \(value.text()).")
    }
    return count
  }
}
