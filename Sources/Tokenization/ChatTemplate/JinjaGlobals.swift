import Foundation

/// The functions that every template can call.
enum JinjaGlobals {
  nonisolated(unsafe) static let table: [String: JinjaValue] = [
    "range": function("range", range),
    "dict": .object(JinjaDictionaryType()),
    "namespace": function("namespace") { interpreter, arguments in
      let namespace = JinjaNamespace()
      interpreter.adopt(namespace)
      let attributes = try dictionary(arguments)
      for (key, value) in zip(attributes.keys, attributes.values) { try namespace.set(try JinjaMethods.text(key), value) }
      return .object(namespace)
    },
    "cycler": function("cycler") { _, arguments in
      guard !arguments.positional.isEmpty else { throw failure("'cycler' needs at least one item.") }
      return .object(JinjaCycler(arguments.positional))
    },
    "joiner": function("joiner") { _, arguments in
      .object(JinjaJoiner(try arguments.bind("joiner", "sep")[0] ?? .string(", ")))
    },
    "raise_exception": function("raise_exception") { _, arguments in
      throw failure(try arguments.bind("raise_exception", "message", required: 1)[0]!.text())
    },
    "strftime_now": function("strftime_now") { interpreter, arguments in
      let format = try JinjaMethods.text(try arguments.bind("strftime_now", "format", required: 1)[0]!)
      return .string(try pythonTime(interpreter.now, format))
    },
  ]

  private static func function(
    _ name: String, _ body: @escaping (JinjaInterpreter, JinjaArguments) throws -> JinjaValue
  ) -> JinjaValue { .object(JinjaFunction(name, body)) }

  private static func range(_: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    let bounds = try arguments.positional.map(JinjaMethods.integer)
    guard arguments.keyword.isEmpty, (1...3).contains(bounds.count) else { throw failure("'range' takes one to three numbers.") }
    let (start, stop) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
    let step = bounds.count == 3 ? bounds[2] : 1
    guard step != 0 else { throw failure("the step of 'range' cannot be 0.") }
    let (distance, overflow) = stop.subtractingReportingOverflow(start)
    let size = step.magnitude
    let isEmpty = step > 0 ? stop <= start : stop >= start
    let count = isEmpty ? 0 : overflow ? Int.max : Int(clamping: (distance.magnitude - 1) / size + 1)
    guard count <= JinjaLimits.range else { throw failure("'range' gives at most \(JinjaLimits.range) numbers.") }
    return .range(JinjaRange(start: start, count: count, step: step))
  }

  /// What Python's `dict(...)` makes of a mapping or pairs, and named values.
  static func dictionary(_ arguments: JinjaArguments) throws -> JinjaDictionary {
    let result = JinjaDictionary()
    guard arguments.positional.count <= 1 else { throw failure("'dict' takes one mapping, not \(arguments.positional.count).") }
    if let source = arguments.positional.first {
      if case .dictionary(let dictionary) = source {
        for (key, value) in zip(dictionary.keys, dictionary.values) { try result.set(key, value) }
      } else {
        for pair in try source.items() {
          let items = try pair.items()
          guard items.count == 2 else { throw failure("'dict' needs pairs of key and value.") }
          try result.set(items[0], items[1])
        }
      }
    }
    for (name, value) in arguments.keyword { try result.set(.string(name), value) }
    return result
  }
}

/// `dict`: a function with the one method `fromkeys`.
private final class JinjaDictionaryType: JinjaObject {
  var typeName: String { "TemplateDict" }
  var isCallable: Bool { true }
  func call(_ interpreter: JinjaInterpreter, _ arguments: JinjaArguments) throws -> JinjaValue {
    .dictionary(try JinjaGlobals.dictionary(arguments))
  }
  func attribute(_ name: String) -> JinjaValue? {
    guard name == "fromkeys" else { return nil }
    return .object(
      JinjaFunction(name) { _, arguments in
        let values = try arguments.bind("fromkeys", "iterable", "value", required: 1)
        let result = JinjaDictionary()
        for key in try values[0]!.items() { try result.set(key, values[1] ?? .none) }
        return .dictionary(result)
      })
  }
}

/// Python's `datetime.now().strftime(format)`, in the local time zone and in English.
func pythonTime(_ date: Date, _ format: String) throws -> String {
  let seconds = date.timeIntervalSince1970.rounded(.down)
  var time = time_t(seconds)
  var fields = tm()
  localtime_r(&time, &fields)
  let microseconds = Int((date.timeIntervalSince1970 - seconds) * 1_000_000)
  // A naive time has no zone; microseconds are Python's own addition.
  let known = format.replacingOccurrences(of: "%z", with: "").replacingOccurrences(of: "%Z", with: "")
    .replacingOccurrences(of: "%f", with: String(microseconds).leftPadded(to: 6, with: "0"))
  guard !known.isEmpty else { return "" }
  var buffer = [CChar](repeating: 0, count: known.utf8.count * 32 + 256)
  let length = strftime(&buffer, buffer.count, known, &fields)
  return String(decoding: buffer.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
