/// What a Python pickle holds, as plain values. Nothing of it is ever run.
///
/// A pickle is a small program that builds objects by calling functions that it names. Here a call stays a description
/// (`PickleObject`), and only functions and classes of an allow-list may be named (`PickleAllowList`).
public enum PickleValue: Hashable, Sendable {
  /// `None`
  case null
  case bool(Bool)
  case int(Int)
  /// An integer beyond 64 bits: two's complement, least significant byte first.
  case largeInt([UInt8])
  case double(Double)
  case string(String)
  case bytes([UInt8])
  case list([PickleValue])
  case tuple([PickleValue])
  case set([PickleValue])
  /// In the order of insertion.
  case dictionary([PicklePair])
  /// A function or a class, by its name.
  case global(PickleGlobal)
  /// The result of a call.
  indirect case object(PickleObject)
  /// A reference to something beside the pickle: in `torch.save` files, to a storage.
  indirect case persistent(PickleValue)
  /// A tensor of a `torch.save` file, with its bytes.
  case tensor(HostTensor)
}

public struct PicklePair: Hashable, Sendable {
  public var key: PickleValue
  public var value: PickleValue

  public init(_ key: PickleValue, _ value: PickleValue) { (self.key, self.value) = (key, value) }
}

/// A function or class of Python, such as `torch.Size`.
public struct PickleGlobal: Hashable, Sendable, CustomStringConvertible {
  public var module: String
  public var name: String

  public init(_ module: String, _ name: String) { (self.module, self.name) = (module, name) }

  public var description: String { "\(module).\(name)" }
}

/// An object as a pickle describes it: what is called, with what, and what is put into the result.
public struct PickleObject: Hashable, Sendable {
  public enum Construction: Hashable, Sendable {
    /// `function(*arguments)`
    case call
    /// `function.__new__(function, *arguments)`
    case new
  }

  public var function: PickleGlobal
  public var arguments: [PickleValue]
  public var construction: Construction
  /// What `__setstate__` gets, or the attributes.
  public var state: PickleValue?
  /// What is appended, where the object is a kind of list.
  public var items: [PickleValue]
  /// What is set, where the object is a kind of dictionary.
  public var pairs: [PicklePair]

  public init(
    _ function: PickleGlobal, _ arguments: [PickleValue] = [], construction: Construction = .call,
    state: PickleValue? = nil, items: [PickleValue] = [], pairs: [PicklePair] = []
  ) {
    (self.function, self.arguments, self.construction) = (function, arguments, construction)
    (self.state, self.items, self.pairs) = (state, items, pairs)
  }

  /// An attribute of an object whose state is the dictionary of its attributes.
  public subscript(attribute: String) -> PickleValue? { state?[attribute] }
}

// MARK: - Reading

extension PickleValue {
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  public var int: Int? { if case .int(let value) = self { value } else { nil } }
  public var string: String? { if case .string(let value) = self { value } else { nil } }
  public var bytes: [UInt8]? { if case .bytes(let value) = self { value } else { nil } }
  public var tensor: HostTensor? { if case .tensor(let value) = self { value } else { nil } }
  public var object: PickleObject? { if case .object(let value) = self { value } else { nil } }
  public var global: PickleGlobal? { if case .global(let value) = self { value } else { nil } }

  /// A floating-point number, or an integer as one.
  public var double: Double? {
    switch self {
    case .double(let value): value
    case .int(let value): Double(value)
    default: nil
    }
  }

  /// The elements of a list, a tuple, a set or a `torch.Size`.
  public var array: [PickleValue]? {
    switch self {
    case .list(let values), .tuple(let values), .set(let values): values
    case .object(let object) where object.function == .torchSize && object.arguments.count == 1:
      object.arguments[0].array
    default: nil
    }
  }

  public var integers: [Int]? {
    guard let array else { return nil }
    let integers = array.compactMap(\.int)
    return integers.count == array.count ? integers : nil
  }

  /// The pairs of a dictionary or of an `OrderedDict`.
  public var pairs: [PicklePair]? {
    switch self {
    case .dictionary(let pairs): pairs
    case .object(let object) where PickleGlobal.dictionaries.contains(object.function): object.pairs
    default: nil
    }
  }

  /// The value of a dictionary's key.
  public subscript(key: String) -> PickleValue? { pairs?.first { $0.key == .string(key) }?.value }

  /// What it is, for a message.
  public var kind: String {
    switch self {
    case .null: "None"
    case .bool: "a bool"
    case .int, .largeInt: "an int"
    case .double: "a float"
    case .string: "a str"
    case .bytes: "bytes"
    case .list: "a list"
    case .tuple: "a tuple"
    case .set: "a set"
    case .dictionary: "a dict"
    case .global(let global): "the name \(global)"
    case .object(let object): "a \(object.function)"
    case .persistent: "a reference to a storage"
    case .tensor: "a tensor"
    }
  }
}

// MARK: - Writing

extension PickleValue: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(integerLiteral value: Int) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(stringLiteral value: String) { self = .string(value) }
  public init(arrayLiteral elements: PickleValue...) { self = .list(elements) }
  public init(dictionaryLiteral elements: (PickleValue, PickleValue)...) {
    self = .dictionary(elements.map { PicklePair($0, $1) })
  }
}
