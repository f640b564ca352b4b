import JSON

/// Takes the fields of a JSON object one by one, each checked for its kind; `null` counts as absent.
struct FieldReader {
  private(set) var remaining: JSONObject

  init(_ object: JSONObject) { remaining = object }

  mutating func take<Value>(
    _ key: String, _ expected: String, _ convert: (JSONValue) -> Value?
  ) throws(SampleError) -> Value? {
    guard let value = remaining[key] else { return nil }
    remaining[key] = nil
    if value.isNull { return nil }
    guard let converted = convert(value) else {
      throw SampleError("field '\(key)' must be \(expected), not \(value.kind)")
    }
    return converted
  }

  mutating func int(_ key: String) throws(SampleError) -> Int? { try take(key, "an integer", \.int) }
  mutating func double(_ key: String) throws(SampleError) -> Double? { try take(key, "a number", \.double) }
  mutating func bool(_ key: String) throws(SampleError) -> Bool? { try take(key, "a boolean", \.bool) }
  mutating func string(_ key: String) throws(SampleError) -> String? { try take(key, "a string", \.string) }
  mutating func object(_ key: String) throws(SampleError) -> JSONObject? { try take(key, "an object", \.object) }

  mutating func array<Element>(
    _ key: String, of elements: String, _ convert: (JSONValue) -> Element?
  ) throws(SampleError) -> [Element]? {
    try take(key, "an array of \(elements)") { value in
      guard let values = value.array else { return nil }
      let converted = values.compactMap(convert)
      return converted.count == values.count ? converted : nil
    }
  }
}
