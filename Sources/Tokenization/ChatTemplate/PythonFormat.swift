import Foundation

/// Python's two ways of filling values into a string: `"%s" % value` and `"{}".format(value)`.
enum PythonFormat {
  // MARK: - Percent

  static func percent(_ format: String, _ value: JinjaValue) throws -> String {
    var arguments: [JinjaValue] = [value]
    if case .tuple(let array) = value { arguments = array.items }
    var next = 0
    func take() throws -> JinjaValue {
      guard next < arguments.count else { throw failure("a format string has more places than there are values.") }
      defer { next += 1 }
      return arguments[next]
    }
    let text = format.scalars
    var out = ""
    var usesNames = false
    var i = 0
    while i < text.count {
      guard text[i] == "%" else {
        out.unicodeScalars.append(text[i])
        i += 1
        continue
      }
      i += 1
      var named: JinjaValue?
      if i < text.count, text[i] == "(" {
        guard let end = text[i...].firstIndex(of: ")"), case .dictionary(let dictionary) = value else {
          throw failure("a format string with names needs a dict.")
        }
        let name = String(scalars: text[i + 1..<end])
        guard let found = dictionary.get(name) else { throw failure("a format string asks for '\(name)', which is not given.") }
        (named, usesNames, i) = (found, true, end + 1)
      }
      var specification = FormatSpecification()
      while i < text.count, "-+ #0".unicodeScalars.contains(text[i]) {
        switch text[i] {
        case "-": specification.align = "<"
        case "+": specification.sign = "+"
        case " ": if specification.sign != "+" { specification.sign = " " }
        case "#": specification.isAlternate = true
        default: specification.isZeroPadded = true
        }
        i += 1
      }
      func number() throws -> Int? {
        if i < text.count, text[i] == "*" { i += 1; return try JinjaMethods.integer(try take()) }
        let start = i
        while i < text.count, text[i].isDecimalDigit { i += 1 }
        return start == i ? nil : try FormatSpecification.bounded(String(scalars: text[start..<i]))
      }
      specification.width = try number() ?? 0
      if i < text.count, text[i] == "." { i += 1; specification.precision = try number() ?? 0 }
      while i < text.count, "hlL".unicodeScalars.contains(text[i]) { i += 1 }
      guard i < text.count else { throw failure("a format string ends in the middle of a place.") }
      let kind = text[i]
      i += 1
      if kind == "%" { out += "%"; continue }
      out += try specification.percent(Character(kind), named ?? take())
      try _ = out.bounded()
    }
    // Python takes whatever has elements, but for tuples and strings, for a mapping, of which no place need ask.
    let isMapping =
      switch value {
      case .dictionary, .list, .range, .undefined: true
      default: false
      }
    guard next == arguments.count || usesNames || (isMapping && next == 0) else {
      throw failure("a format string has fewer places than there are values.")
    }
    return out
  }

  // MARK: - Braces

  /// Places are numbered by the format or by their order, but not both.
  private struct Numbering {
    private var next = 0
    private var isManual = false

    mutating func index(_ written: Int?) throws -> Int {
      guard written == nil ? !isManual : next == 0 else {
        throw failure("a format string numbers some of its places and not others.")
      }
      if let written { isManual = true; return written }
      defer { next += 1 }
      return next
    }
  }

  static func braces(_ format: String, _ arguments: JinjaArguments) throws -> String {
    var numbering = Numbering()
    return try braces(format.scalars, arguments, &numbering, depth: 0)
  }

  private static func braces(
    _ text: [Unicode.Scalar], _ arguments: JinjaArguments, _ numbering: inout Numbering, depth: Int
  ) throws -> String {
    guard depth < 3 else { throw failure("a format string is nested too deeply.") }
    var out = ""
    var i = 0
    while i < text.count {
      let scalar = text[i]
      i += 1
      if scalar == "{" || scalar == "}" {
        if i < text.count, text[i] == scalar {
          out.unicodeScalars.append(scalar)
          i += 1
          continue
        }
        guard scalar == "{" else { throw failure("a format string has a '}' without a '{'.") }
        var level = 1
        let start = i
        while i < text.count {
          if text[i] == "{" { level += 1 } else if text[i] == "}" { level -= 1 }
          if level == 0 { break }
          i += 1
        }
        guard i < text.count else { throw failure("a format string has a '{' without a '}'.") }
        out += try field(Array(text[start..<i]), arguments, &numbering, depth: depth)
        i += 1
        try _ = out.bounded()
      } else {
        out.unicodeScalars.append(scalar)
      }
    }
    return out
  }

  private static func field(
    _ text: [Unicode.Scalar], _ arguments: JinjaArguments, _ numbering: inout Numbering, depth: Int
  ) throws -> String {
    let nameEnd = text.firstIndex { $0 == "!" || $0 == ":" } ?? text.count
    var value = try lookUp(Array(text[..<nameEnd]), arguments, &numbering)
    var rest = text[nameEnd...]
    if rest.first == "!" {
      guard rest.count >= 2, rest.count == 2 || rest[nameEnd + 2] == ":" else {
        throw failure("a conversion in a format string is '!r', '!s' or '!a'.")
      }
      switch rest[nameEnd + 1] {
      case "r": value = .string(try value.representation())
      case "s": value = .string(try value.text())
      default: throw failure("a conversion in a format string is '!r' or '!s'.")
      }
      rest = rest.dropFirst(2)
    }
    let specification = try braces(Array(rest.dropFirst()), arguments, &numbering, depth: depth + 1)
    return try FormatSpecification(parsing: specification).format(value)
  }

  private static func lookUp(
    _ path: [Unicode.Scalar], _ arguments: JinjaArguments, _ numbering: inout Numbering
  ) throws -> JinjaValue {
    let headEnd = path.firstIndex { $0 == "." || $0 == "[" } ?? path.count
    let head = String(scalars: path[..<headEnd])
    var value: JinjaValue
    if head.isEmpty || Int(head) != nil {
      let index = try numbering.index(Int(head))
      guard arguments.positional.indices.contains(index) else {
        throw failure("a format string asks for argument \(index), which is not given.")
      }
      value = arguments.positional[index]
    } else {
      guard let found = arguments.keyword.last(where: { $0.name == head }) else {
        throw failure("a format string asks for '\(head)', which is not given.")
      }
      value = found.value
    }
    var i = headEnd
    while i < path.count {
      let isItem = path[i] == "["
      let end = path[(i + 1)...].firstIndex { isItem ? $0 == "]" : $0 == "." || $0 == "[" } ?? path.count
      let name = String(scalars: path[(i + 1)..<end])
      value = try isItem ? value.item(Int(name).map { .int($0) } ?? .string(name)) : value.attribute(name)
      i = isItem ? end + 1 : end
    }
    return value
  }
}
