typealias JinjaMethod = @Sendable (JinjaValue, JinjaArguments) throws -> JinjaValue

extension JinjaValue {
  /// A method of Python's type that templates may call.
  func method(_ name: String) -> JinjaMethod? {
    switch self {
    case .string: JinjaMethods.string[name]
    case .dictionary: JinjaMethods.dictionary[name]
    case .list, .tuple, .range: JinjaMethods.sequence[name]
    case .float: JinjaMethods.float[name]
    default: nil
    }
  }

  private static let mutating: Set<String> = [
    "append", "clear", "extend", "insert", "pop", "popitem", "remove", "reverse", "setdefault", "sort", "update",
  ]

  /// Python's attribute, if there is one. Methods that would change a value exist but cannot be used.
  private func ownAttribute(_ name: String) throws -> JinjaValue? {
    if let method = method(name) { return .object(JinjaFunction(name) { _, arguments in try method(self, arguments) }) }
    switch self {
    case .object(let object): return try object.attribute(name)
    case .tuple(let array) where array.items.count == 2 && (name == "grouper" || name == "list"):
      return array.items[name == "grouper" ? 0 : 1]
    case .list where Self.mutating.contains(name), .dictionary where Self.mutating.contains(name):
      return .undefined(.hint("'\(name)' would change a \(typeName), which a template cannot do; use a namespace."))
    default: return nil
    }
  }

  /// `value.name`: an attribute, or else an element.
  func attribute(_ name: String) throws -> JinjaValue {
    if let value = try defined().ownAttribute(name) { return value }
    if case .dictionary(let dictionary) = self, let value = dictionary.get(name) { return value }
    return .undefined(.attribute(name, of: typeName))
  }

  /// `value[key]`: an element, or else an attribute.
  func item(_ key: JinjaValue) throws -> JinjaValue {
    switch try defined() {
    case .dictionary(let dictionary):
      if let hashed = try? dictionary.get(key) { return hashed }
    case .list(let array), .tuple(let array):
      if let i = Self.index(key, count: array.items.count) { return array.items[i] }
    case .range(let range):
      if let i = Self.index(key, count: range.count) { return range[i] }
    case .string(let text):
      if let position = key.integer {
        let scalars = text.unicodeScalars
        let start = position >= 0 ? scalars.startIndex : scalars.endIndex
        let limit = position >= 0 ? scalars.endIndex : scalars.startIndex
        if let i = scalars.index(start, offsetBy: position, limitedBy: limit), i < scalars.endIndex {
          return .string(String(scalars[i]))
        }
      }
    default: break
    }
    if case .string(let name) = key {
      return try ownAttribute(name) ?? .undefined(.attribute(name, of: typeName))
    }
    return .undefined(.element((try? key.representation()) ?? "of that kind", of: typeName))
  }

  private static func index(_ key: JinjaValue, count: Int) -> Int? {
    guard let position = key.integer, position < count, position >= -count else { return nil }
    return position >= 0 ? position : position + count
  }

  /// `value[start:stop:step]`.
  func slice(_ start: JinjaValue?, _ stop: JinjaValue?, _ step: JinjaValue?) throws -> JinjaValue {
    func bound(_ value: JinjaValue?) throws -> Int? {
      guard let value, !value.isNone else { return nil }
      guard let integer = value.integer else { throw failure("a slice is bounded by integers, not by a \(value.typeName).") }
      return integer
    }
    let (first, end, stride) = (try bound(start), try bound(stop), try bound(step) ?? 1)
    guard stride != 0 else { throw failure("a slice's step cannot be 0.") }
    func indices(_ count: Int) -> JinjaRange { Self.sliceIndices(first, end, stride, count: count) }
    switch try defined() {
    case .string(let text):
      let scalars = text.scalars
      let range = indices(scalars.count)
      return .string(String(scalars: (0..<range.count).lazy.map { scalars[range.start + $0 * range.step] }))
    case .list(let array):
      let range = indices(array.items.count)
      return .list((0..<range.count).map { array.items[range.start + $0 * range.step] })
    case .tuple(let array):
      let range = indices(array.items.count)
      return .tuple((0..<range.count).map { array.items[range.start + $0 * range.step] })
    case .range(let source):
      let range = indices(source.count)
      return .range(
        JinjaRange(start: source.start + range.start * source.step, count: range.count, step: source.step * range.step))
    default: throw failure("a value of type \(typeName) cannot be sliced.")
    }
  }

  private static func sliceIndices(_ first: Int?, _ end: Int?, _ step: Int, count: Int) -> JinjaRange {
    let lowest = step > 0 ? 0 : -1
    let highest = step > 0 ? count : count - 1
    func clamp(_ value: Int) -> Int { min(max(value < 0 ? value + count : value, lowest), highest) }
    let start = first.map(clamp) ?? (step > 0 ? lowest : highest)
    let stop = end.map(clamp) ?? (step > 0 ? highest : lowest)
    let distance = step > 0 ? stop - start : start - stop
    guard distance > 0 else { return JinjaRange(start: start, count: 0, step: 1) }
    let size = step == .min ? Int.max : abs(step)
    let length = (distance - 1) / size + 1
    return JinjaRange(start: start, count: length, step: length == 1 ? 1 : step)
  }
}
