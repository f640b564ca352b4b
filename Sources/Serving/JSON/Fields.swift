import Inference
import JSON

/// The fields of a JSON object from a client, read with types; a wrong type is told in one sentence.
struct Fields {
  let object: JSONObject
  /// Put before field names in messages, such as `sampling_params.`.
  let prefix: String

  init(_ value: JSONValue, prefix: String = "", what: String = "The request body") throws(InvalidRequest) {
    guard let object = value.object else { throw InvalidRequest("\(what) must be a JSON object, got \(value.kind).") }
    (self.object, self.prefix) = (object, prefix)
  }

  /// nil when the field is absent or null.
  subscript(key: String) -> JSONValue? {
    if let value = object[key], !value.isNull { value } else { .none }
  }

  func string(_ key: String) throws(InvalidRequest) -> String? { try typed(key, "a string", \.string) }
  func bool(_ key: String) throws(InvalidRequest) -> Bool? { try typed(key, "true or false", \.bool) }
  func int(_ key: String) throws(InvalidRequest) -> Int? { try typed(key, "an integer", \.int) }
  func double(_ key: String) throws(InvalidRequest) -> Double? { try typed(key, "a number", \.double) }
  func array(_ key: String) throws(InvalidRequest) -> [JSONValue]? { try typed(key, "an array", \.array) }
  func object(_ key: String) throws(InvalidRequest) -> JSONObject? { try typed(key, "an object", \.object) }
  func ints(_ key: String) throws(InvalidRequest) -> [Int]? { try typed(key, "an array of integers", \.ints) }

  /// A string or an array of strings.
  func strings(_ key: String) throws(InvalidRequest) -> [String]? {
    try typed(key, "a string or an array of strings") { value in value.string.map { [$0] } ?? value.strings }
  }

  /// The field as `read` understands it.
  func typed<T>(_ key: String, _ expected: String, _ read: (JSONValue) -> T?) throws(InvalidRequest) -> T? {
    guard let value = self[key] else { return nil }
    guard let result = read(value) else {
      throw InvalidRequest("\(prefix)\(key) must be \(expected), got \(value.kind).")
    }
    return result
  }

  /// Refuses fields that nobody reads: a mistyped name would otherwise be silently without effect.
  func expectOnly(_ known: Set<String>) throws(InvalidRequest) {
    if let key = object.keys.first(where: { !known.contains($0) }) {
      throw InvalidRequest("unknown field \(prefix)\(key); known are \(known.sorted().joined(separator: ", ")).")
    }
  }

  /// Refuses features that this server does not have; null, false, 0 and empty values ask for nothing.
  func refuse(_ unsupported: Set<String>) throws(InvalidRequest) {
    let nothing: [JSONValue] = [.bool(false), .int(0), .double(0), .string(""), .array([]), .object([:])]
    for key in object.keys where unsupported.contains(key) {
      if let value = self[key], !nothing.contains(value) {
        throw InvalidRequest("\(prefix)\(key) is not supported by this server; leave it out.")
      }
    }
  }
}

extension JSONValue {
  /// All elements as integers.
  var ints: [Int]? { all(\.int) }
  /// All elements as strings.
  var strings: [String]? { all(\.string) }

  private func all<T>(_ read: (JSONValue) -> T?) -> [T]? {
    guard let array else { return nil }
    var result: [T] = []
    result.reserveCapacity(array.count)
    for value in array {
      guard let element = read(value) else { return nil }
      result.append(element)
    }
    return result
  }
}
