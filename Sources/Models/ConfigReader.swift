import JSON

/// Typed reading of a config.json; every complaint names the key, its value and the folder.
public struct ConfigReader {
  public let json: JSONValue
  /// Where it comes from, for messages.
  public let source: String

  public init(_ json: JSONValue, source: String) { (self.json, self.source) = (json, source) }

  /// Present and not null.
  public func value(_ key: String) -> JSONValue? {
    guard let value = json[key], !value.isNull else { return nil }
    return value
  }

  private func require<T>(_ key: String, _ read: (JSONValue) -> T?, _ wanted: String, default fallback: T?) throws -> T {
    guard let value = value(key) else {
      if let fallback { return fallback }
      throw ModelError("\(source) has no '\(key)'; it needs \(wanted)")
    }
    guard let result = read(value) else {
      throw ModelError("\(source) has \(key) = \(value.text()), but it must be \(wanted)")
    }
    return result
  }

  /// A whole number of at least 1.
  public func count(_ key: String, default fallback: Int? = nil) throws -> Int {
    try require(key, { $0.int.flatMap { $0 > 0 ? $0 : nil } }, "a positive whole number", default: fallback)
  }

  /// A list of whole numbers, none of them negative; empty where there is none.
  public func counts(_ key: String) throws -> [Int] {
    try require(
      key, { value in value.array.flatMap { list in
        let numbers = list.compactMap { $0.int.flatMap { $0 >= 0 ? $0 : nil } }
        return numbers.count == list.count ? numbers : nil
      } }, "a list of whole numbers", default: [])
  }

  /// A list of numbers.
  public func numbers(_ key: String) throws -> [Double] {
    try require(
      key, { value in value.array.flatMap { list in
        let numbers = list.compactMap(\.double)
        return numbers.count == list.count ? numbers : nil
      } }, "a list of numbers", default: nil)
  }

  /// The same with some keys under other names, where those are not there.
  func renaming(_ names: [String: String]) -> ConfigReader {
    guard case .object(var object) = json else { return self }
    for (old, new) in names where object[new] == nil { object[new] = object[old] }
    return ConfigReader(.object(object), source: source)
  }

  /// The same with a value of one's own.
  func setting(_ key: String, _ value: JSONValue) -> ConfigReader {
    guard case .object(var object) = json else { return self }
    object[key] = value
    return ConfigReader(.object(object), source: source)
  }

  public func number(_ key: String, default fallback: Double? = nil) throws -> Double {
    try require(key, \.double, "a number", default: fallback)
  }

  public func flag(_ key: String, default fallback: Bool) throws -> Bool {
    try require(key, \.bool, "true or false", default: fallback)
  }

  public func text(_ key: String, default fallback: String? = nil) throws -> String {
    try require(key, \.string, "a string", default: fallback)
  }

  /// Refuses a key whose value asks for something that is not built.
  public func refuse(_ key: String, unless isNeutral: (JSONValue) -> Bool, _ reason: String) throws {
    guard let value = value(key), !isNeutral(value) else { return }
    throw ModelError("\(source) has \(key) = \(value.text()): \(reason)")
  }
}
