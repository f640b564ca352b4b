import JSON

/// The numbers of one step, by name, in the order in which they were set: `rollout/raw_reward`, `train/loss`, `perf/train_time`.
public struct Metrics: Sendable, Equatable, Codable, ExpressibleByDictionaryLiteral {
  public private(set) var names: [String] = []
  private var values: [String: Double] = [:]

  public init() {}

  public init(dictionaryLiteral elements: (String, Double)...) {
    for (name, value) in elements { self[name] = value }
  }

  public subscript(name: String) -> Double? {
    get { values[name] }
    set {
      if values.updateOrRemove(newValue, name) == nil, newValue != nil { names.append(name) }
      if newValue == nil { names.removeAll { $0 == name } }
    }
  }

  public var count: Int { names.count }
  public var isEmpty: Bool { names.isEmpty }
  public var pairs: [(name: String, value: Double)] { names.map { ($0, values[$0]!) } }

  /// Adds the numbers of `other`, with `prefix` before their names; they replace what has the same name.
  public mutating func merge(_ other: Metrics, prefix: String = "") {
    for (name, value) in other.pairs { self[prefix + name] = value }
  }

  /// Integral values are written as integers.
  public var json: JSONObject {
    JSONObject(pairs.map { ($0.name, Int(exactly: $0.value).map { .int($0) } ?? .double($0.value)) })
  }
}

extension [String: Double] {
  /// Returns the value that was there.
  fileprivate mutating func updateOrRemove(_ value: Double?, _ key: String) -> Double? {
    if let value { updateValue(value, forKey: key) } else { removeValue(forKey: key) }
  }
}
