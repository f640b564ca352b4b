/// A value while a template runs: what Python's objects are to jinja2. All but objects are immutable.
enum JinjaValue {
  case undefined(JinjaUndefined)
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case list(JinjaArray)
  case tuple(JinjaArray)
  case dictionary(JinjaDictionary)
  case range(JinjaRange)
  case object(any JinjaObject)

  static func list(_ items: [JinjaValue]) -> JinjaValue { .list(JinjaArray(items)) }
  static func tuple(_ items: [JinjaValue]) -> JinjaValue { .tuple(JinjaArray(items)) }
}

/// Why there is no value; said when a template does something with it that needs one.
enum JinjaUndefined {
  case name(String)
  case attribute(String, of: String)
  case element(String, of: String)
  case hint(String)

  var message: String {
    switch self {
    case .name(let name): "'\(name)' is undefined."
    case .attribute(let name, let type): "a value of type \(type) has no attribute '\(name)'."
    case .element(let key, let type): "a value of type \(type) has no element \(key)."
    case .hint(let text): text
    }
  }
}

/// The items of a list or tuple; `depth` is how deep containers are nested in it.
struct JinjaArray {
  let items: [JinjaValue]
  let depth: Int

  init(_ items: [JinjaValue]) {
    self.items = items
    depth = 1 + (items.lazy.map(\.depth).max() ?? 0)
  }
}

/// A dictionary in insertion order.
final class JinjaDictionary {
  private(set) var keys: [JinjaValue] = []
  private(set) var values: [JinjaValue] = []
  private(set) var depth = 1
  private var index: [JinjaKey: Int] = [:]

  func set(_ key: JinjaValue, _ value: JinjaValue) throws {
    let hashed = try JinjaKey(key)
    depth = max(depth, 1 + value.depth, 1 + key.depth)
    if let i = index[hashed] {
      values[i] = value
    } else {
      index[hashed] = keys.count
      keys.append(key)
      values.append(value)
    }
  }

  func get(_ key: JinjaValue) throws -> JinjaValue? { index[try JinjaKey(key)].map { values[$0] } }
  func get(_ key: String) -> JinjaValue? { index[.string(ExactString(key))].map { values[$0] } }

  var pairs: [JinjaValue] { zip(keys, values).map { .tuple([$0, $1]) } }
}

/// A string compared by its code points, as Python does; Swift's own equality is canonical equivalence.
struct ExactString: Hashable {
  let text: String
  init(_ text: String) { self.text = text }
  static func == (a: Self, b: Self) -> Bool { a.text.isExactly(b.text) }
  func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}

extension String {
  func isExactly(_ other: String) -> Bool { utf8.elementsEqual(other.utf8) }
  /// Order by code points, which is that of UTF-8's bytes.
  func isBefore(_ other: String) -> Bool { utf8.lexicographicallyPrecedes(other.utf8) }
}

/// A value as a dictionary's key: `1`, `1.0` and `True` are the same key, as in Python.
enum JinjaKey: Hashable {
  case none, undefined
  case int(Int)
  case float(Double)
  case string(ExactString)
  case tuple([JinjaKey])
  case object(ObjectIdentifier)

  init(_ value: JinjaValue) throws {
    switch value {
    case .undefined: self = .undefined
    case .none: self = .none
    case .bool(let value): self = .int(value ? 1 : 0)
    case .int(let value): self = .int(value)
    case .float(let value): self = Int(exactly: value).map { .int($0) } ?? .float(value)
    case .string(let value): self = .string(ExactString(value))
    case .tuple(let array): self = .tuple(try array.items.map { try JinjaKey($0) })
    case .range(let range): self = .tuple([.int(range.start), .int(range.count), .int(range.step)])
    case .object(let object): self = .object(ObjectIdentifier(object))
    case .list, .dictionary: throw failure("a \(value.typeName) cannot be a key or a member of a set.")
    }
  }
}

struct JinjaRange {
  var start: Int
  var count: Int
  var step: Int

  subscript(index: Int) -> JinjaValue { .int(start + index * step) }
  var items: [JinjaValue] { (0..<count).map { self[$0] } }
  var stop: Int { start + count * step }
}

/// A value with a behaviour: functions, macros, loops, namespaces, iterators, views of dictionaries.
protocol JinjaObject: AnyObject {
  var typeName: String { get }
  var isCallable: Bool { get }
  var depth: Int { get }
  func attribute(_ name: String) throws -> JinjaValue?
  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue
  /// What is printed for it.
  func text() throws -> String
  /// The items that a loop visits; nil if it cannot be looped over.
  func items() throws -> [JinjaValue]?
  /// How many items there are, where that is known without visiting them.
  func count() throws -> Int?
}

extension JinjaObject {
  var isCallable: Bool { false }
  var depth: Int { 0 }
  func attribute(_ name: String) throws -> JinjaValue? { nil }
  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    throw failure("a value of type \(typeName) cannot be called.")
  }
  func text() throws -> String { "<\(typeName)>" }
  func items() throws -> [JinjaValue]? { nil }
  func count() throws -> Int? { nil }
}

extension JinjaValue {
  /// The value's type in Python's words, for error messages.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .float: "float"
    case .string: "str"
    case .list: "list"
    case .tuple: "tuple"
    case .dictionary: "dict"
    case .range: "range"
    case .object(let object): object.typeName
    }
  }

  var depth: Int {
    switch self {
    case .list(let array), .tuple(let array): array.depth
    case .dictionary(let dictionary): dictionary.depth
    case .object(let object): object.depth
    default: 0
    }
  }

  var isUndefined: Bool { if case .undefined = self { true } else { false } }
  var isNone: Bool { if case .none = self { true } else { false } }
  var isString: Bool { if case .string = self { true } else { false } }

  /// Python's truth value.
  func isTrue() throws -> Bool {
    switch self {
    case .undefined, .none: false
    case .bool(let value): value
    case .int(let value): value != 0
    case .float(let value): value != 0
    case .string(let value): !value.isEmpty
    case .list(let array), .tuple(let array): !array.items.isEmpty
    case .dictionary(let dictionary): !dictionary.keys.isEmpty
    case .range(let range): range.count > 0
    case .object(let object): try object.count() != 0
    }
  }

  /// The items that a loop over this value visits; nil if Python could not iterate over it.
  func itemsIfIterable() throws -> [JinjaValue]? {
    switch self {
    case .undefined: []
    case .string(let text): text.unicodeScalars.map { .string(String($0)) }
    case .list(let array), .tuple(let array): array.items
    case .dictionary(let dictionary): dictionary.keys
    case .range(let range): range.items
    case .object(let object): try object.items()
    default: nil
    }
  }

  func items() throws -> [JinjaValue] {
    guard let items = try itemsIfIterable() else { throw failure("a value of type \(typeName) cannot be looped over.") }
    return items
  }

  /// Python's `len`.
  func count() throws -> Int {
    switch self {
    case .undefined: return 0
    case .string(let text): return text.unicodeScalars.count
    case .list(let array), .tuple(let array): return array.items.count
    case .dictionary(let dictionary): return dictionary.keys.count
    case .range(let range): return range.count
    case .object(let object):
      if let count = try object.count() { return count }
    default: break
    }
    throw failure("a value of type \(typeName) has no length.")
  }
}
