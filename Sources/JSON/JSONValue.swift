/// A JSON value that keeps what JSON texts say: object keys stay in their order, and integers stay integers.
///
/// Python's `json` makes the same distinctions, which chat templates (`tojson`) and SGLang's protocol rely on.
public enum JSONValue: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)
}

/// A JSON object: key order is kept, later duplicates replace earlier ones in place.
public struct JSONObject: Sendable, ExpressibleByDictionaryLiteral {
  public private(set) var keys: [String] = []
  private var table: [ByteKey: JSONValue] = [:]

  /// Compares by bytes: to `String`, canonically equivalent keys (é as one or as two scalars) would be one.
  private struct ByteKey: Hashable {
    var text: String

    static func == (a: ByteKey, b: ByteKey) -> Bool { a.text.utf8.elementsEqual(b.text.utf8) }

    func hash(into hasher: inout Hasher) {
      let isDone: Void? = text.utf8.withContiguousStorageIfAvailable { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
      if isDone == nil { for byte in text.utf8 { hasher.combine(byte) } }
      hasher.combine(0xFF as UInt8)
    }
  }

  public init() {}

  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    for (key, value) in elements { self[key] = value }
  }

  public init(_ pairs: [(String, JSONValue)]) {
    for (key, value) in pairs { self[key] = value }
  }

  public var count: Int { keys.count }
  public var isEmpty: Bool { keys.isEmpty }
  public var pairs: [(key: String, value: JSONValue)] { keys.map { ($0, table[ByteKey(text: $0)]!) } }

  public subscript(key: String) -> JSONValue? {
    get { table[ByteKey(text: key)] }
    set {
      let entry = ByteKey(text: key)
      if let newValue {
        if table.updateValue(newValue, forKey: entry) == nil { keys.append(key) }
      } else if table.removeValue(forKey: entry) != nil {
        keys.removeAll { ByteKey(text: $0) == entry }
      }
    }
  }
}

/// Objects are equal when they hold the same pairs, whatever their order.
extension JSONObject: Equatable {
  public static func == (a: Self, b: Self) -> Bool { a.table == b.table }
}

// MARK: - Reading

extension JSONValue {
  public subscript(key: String) -> JSONValue? {
    if case .object(let object) = self { object[key] } else { nil }
  }

  public var isNull: Bool { self == .null }
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  public var object: JSONObject? { if case .object(let value) = self { value } else { nil } }

  /// An integer, or a double that is one (`3.0`).
  public var int: Int? {
    switch self {
    case .int(let value): value
    case .double(let value): Int(exactly: value)
    default: nil
    }
  }

  /// Any number as a double.
  public var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// What kind of value this is, in the words of JSON, for error messages.
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .int, .double: "a number"
    case .string: "a string"
    case .array: "an array"
    case .object: "an object"
    }
  }
}

// MARK: - Literals

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(nilLiteral: ()) { self = .null }
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(integerLiteral value: Int) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(stringLiteral value: String) { self = .string(value) }
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(JSONObject(elements)) }
}
