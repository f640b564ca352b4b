/// The tests that can follow `is`.
enum JinjaTests {
  typealias Test = @Sendable (JinjaValue, JinjaArguments) throws -> Bool

  static let table: [String: Test] = [
    "defined": plain { !$0.isUndefined },
    "undefined": plain { $0.isUndefined },
    "none": plain { $0.isNone },
    "boolean": plain { if case .bool = $0 { true } else { false } },
    "true": plain { if case .bool(true) = $0 { true } else { false } },
    "false": plain { if case .bool(false) = $0 { true } else { false } },
    "integer": plain { if case .int = $0 { true } else { false } },
    "float": plain { if case .float = $0 { true } else { false } },
    "number": plain { $0.number != nil },
    "string": plain { $0.isString },
    "mapping": plain { if case .dictionary = $0 { true } else { false } },
    "sequence": plain {
      switch $0 {
      case .undefined, .string, .list, .tuple, .dictionary, .range: true
      default: false
      }
    },
    "iterable": plain {
      switch $0 {
      case .undefined, .string, .list, .tuple, .dictionary, .range: true
      case .object(let object): object is JinjaIterator || object is JinjaView || object is JinjaLoopContext
      default: false
      }
    },
    "callable": plain {
      switch $0 {
      case .undefined: true
      case .object(let object): object.isCallable
      default: false
      }
    },
    "escaped": plain { _ in false },
    "lower": plain { try $0.text().isPythonLower },
    "upper": plain { try $0.text().isPythonUpper },
    "odd": plain { try remainder($0, .int(2)).isEqual(to: .int(1)) },
    "even": plain { try remainder($0, .int(2)).isEqual(to: .int(0)) },
    "divisibleby": binary { try remainder($0, $1).isEqual(to: .int(0)) },
    "filter": plain { if case .string(let name) = $0 { JinjaFilters.table[name] != nil } else { false } },
    "test": plain { if case .string(let name) = $0 { table[name] != nil } else { false } },
    "sameas": binary { try isSame($0, $1) },
    "in": binary { try $1.contains($0) },
    "==": compare("=="), "eq": compare("=="), "equalto": compare("=="),
    "!=": compare("!="), "ne": compare("!="),
    "<": compare("<"), "lt": compare("<"), "lessthan": compare("<"),
    "<=": compare("<="), "le": compare("<="),
    ">": compare(">"), "gt": compare(">"), "greaterthan": compare(">"),
    ">=": compare(">="), "ge": compare(">="),
  ]

  private static func plain(_ test: @escaping @Sendable (JinjaValue) throws -> Bool) -> Test {
    { value, arguments in
      _ = try arguments.bind("is")
      return try test(value)
    }
  }

  private static func binary(_ test: @escaping @Sendable (JinjaValue, JinjaValue) throws -> Bool) -> Test {
    { value, arguments in try test(value, try arguments.bind("is", "other", required: 1)[0]!) }
  }

  private static func compare(_ symbol: String) -> Test { binary { try $0.compare(symbol, $1) } }

  private static func remainder(_ value: JinjaValue, _ divisor: JinjaValue) throws -> JinjaValue {
    try value.apply("%", divisor)
  }

  /// Python's `is`, as far as values have an identity: the same kind and equal, and containers never.
  private static func isSame(_ a: JinjaValue, _ b: JinjaValue) throws -> Bool {
    switch (a, b) {
    case (.list, _), (.dictionary, _), (.tuple, _), (.range, _), (.float, _): false
    default: try a.typeName == b.typeName && a.isEqual(to: b)
    }
  }
}
