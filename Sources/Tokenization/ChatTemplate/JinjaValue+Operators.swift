import Foundation

extension JinjaValue {
  /// Fails with the reason if the value is undefined.
  func defined() throws -> JinjaValue {
    if case .undefined(let reason) = self { throw failure(reason.message) }
    return self
  }

  /// The value as a number, where Python would compute with it: booleans count as 0 and 1.
  var number: JinjaNumber? {
    switch self {
    case .bool(let value): .int(value ? 1 : 0)
    case .int(let value): .int(value)
    case .float(let value): .float(value)
    default: nil
    }
  }

  /// The value as an index or count; booleans count as 0 and 1.
  var integer: Int? { if case .int(let value)? = number { value } else { nil } }

  // MARK: - Comparison

  /// Python's `==`.
  func isEqual(to other: JinjaValue) throws -> Bool {
    if let a = number, let b = other.number { return a.isEqual(to: b) }
    switch (self, other) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.string(let a), .string(let b)): return a.isExactly(b)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      guard a.items.count == b.items.count else { return false }
      for (x, y) in zip(a.items, b.items) where !(try x.isEqual(to: y)) { return false }
      return true
    case (.dictionary(let a), .dictionary(let b)):
      guard a.keys.count == b.keys.count else { return false }
      for (key, value) in zip(a.keys, a.values) {
        guard let found = try b.get(key), try value.isEqual(to: found) else { return false }
      }
      return true
    case (.range(let a), .range(let b)):
      return a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step))
    case (.object(let a), .object(let b)): return a === b
    default: return false
    }
  }

  /// Python's `<`.
  func isLess(than other: JinjaValue) throws -> Bool {
    if let a = number, let b = other.number { return a.isLess(than: b) }
    switch (self, other) {
    case (.string(let a), .string(let b)): return a.isBefore(b)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      for (x, y) in zip(a.items, b.items) where !(try x.isEqual(to: y)) { return try x.isLess(than: y) }
      return a.items.count < b.items.count
    default:
      _ = try (defined(), other.defined())
      throw failure("values of types \(typeName) and \(other.typeName) have no order.")
    }
  }

  func compare(_ symbol: String, _ other: JinjaValue) throws -> Bool {
    switch symbol {
    case "==": return try isEqual(to: other)
    case "!=": return try !isEqual(to: other)
    case "in": return try other.contains(self)
    case "not in": return try !other.contains(self)
    default: break
    }
    let isNaN = [self, other].contains { if case .float(let value) = $0 { value.isNaN } else { false } }
    let less = symbol.hasPrefix("<") ? try isLess(than: other) : try other.isLess(than: self)
    if less || symbol.count == 1 || isNaN { return less }
    return try symbol.hasPrefix("<") ? !other.isLess(than: self) : !isLess(than: other)
  }

  /// Python's `in`, with this value as the container.
  func contains(_ member: JinjaValue) throws -> Bool {
    switch self {
    case .string(let text):
      guard case .string(let part) = member else {
        throw failure("only a string can be 'in' a string, not a \(member.typeName).")
      }
      return text.firstByteOffset(of: part) != nil
    case .dictionary(let dictionary): return try dictionary.get(member) != nil
    default:
      for item in try items() where try item.isEqual(to: member) { return true }
      return false
    }
  }

  // MARK: - Arithmetic

  func apply(_ symbol: String, _ other: JinjaValue) throws -> JinjaValue {
    _ = try (symbol == "%" && isString ? self : defined())
    if let a = number, let b = other.number { return try a.apply(symbol, b) }
    switch (symbol, self, other) {
    case ("%", .string(let format), _): return .string(try PythonFormat.percent(format, other))
    case ("+", .string(let a), .string(let b)): return .string(try (a + b).bounded())
    case ("+", .list(let a), .list(let b)): return .list(a.items + b.items)
    case ("+", .tuple(let a), .tuple(let b)): return .tuple(a.items + b.items)
    case ("*", _, _):
      if let count = other.integer, let repeated = try repeated(count) { return repeated }
      if let count = integer, let repeated = try other.repeated(count) { return repeated }
    default: break
    }
    _ = try other.defined()
    throw failure("'\(symbol)' cannot be applied to values of types \(typeName) and \(other.typeName).")
  }

  private func repeated(_ count: Int) throws -> JinjaValue? {
    let count = max(0, count)
    func check(_ size: Int, _ limit: Int) throws {
      guard size.multipliedReportingOverflow(by: count).overflow == false, size * count <= limit else {
        throw failure("a repetition would be larger than \(limit).")
      }
    }
    switch self {
    case .string(let text):
      try check(text.utf8.count, JinjaLimits.text)
      return .string(String(repeating: text, count: count))
    case .list(let array):
      try check(array.items.count, JinjaLimits.items)
      return .list(Array(repeatElement(array.items, count: count).joined()))
    case .tuple(let array):
      try check(array.items.count, JinjaLimits.items)
      return .tuple(Array(repeatElement(array.items, count: count).joined()))
    default: return nil
    }
  }

  func negated(_ symbol: String) throws -> JinjaValue {
    switch try defined().number {
    case .int(let value)?:
      guard symbol == "-" else { return .int(value) }
      return try JinjaNumber.int(0).apply("-", .int(value))
    case .float(let value)?: return .float(symbol == "-" ? -value : value)
    case nil: throw failure("'\(symbol)' cannot be applied to a value of type \(typeName).")
    }
  }
}

/// How large what a template makes may become.
enum JinjaLimits {
  /// Bytes of one string.
  static let text = 1 << 24
  /// Items of one list.
  static let items = 1 << 19
  static let depth = 150
  static let range = 100_000
}

extension String {
  func bounded() throws -> String {
    guard utf8.count <= JinjaLimits.text else { throw failure("a string is longer than \(JinjaLimits.text) bytes.") }
    return self
  }

  var scalars: [Unicode.Scalar] { Array(unicodeScalars) }

  init(scalars: some Sequence<Unicode.Scalar>) {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    self.init(view)
  }
}
