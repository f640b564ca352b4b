/// Cuts a template into tokens, with `trim_blocks` and `lstrip_blocks` on, as chat templates are written for.
struct JinjaLexer {
  private let source: [Unicode.Scalar]
  private var position = 0
  private var line = 1
  /// Whether what was read last ended a line; blocks that start a line lose the blanks before them.
  private var atLineStart = true
  private var tokens: [JinjaToken] = []

  static func tokens(of source: String) throws -> [JinjaToken] {
    var lexer = JinjaLexer(source: source)
    return try lexer.run()
  }

  private init(source text: String) {
    var scalars: [Unicode.Scalar] = []
    var previous: Unicode.Scalar?
    for scalar in text.unicodeScalars {
      if scalar == "\r" { scalars.append("\n") } else if scalar != "\n" || previous != "\r" { scalars.append(scalar) }
      previous = scalar
    }
    if scalars.last == "\n" { scalars.removeLast() }
    source = scalars
  }

  private mutating func run() throws -> [JinjaToken] {
    while position < source.count {
      guard let tag = nextTag() else {
        emitText(position..<source.count)
        position = source.count
        break
      }
      let sign = at(tag + 2).flatMap { $0 == "-" || $0 == "+" ? $0 : nil }
      emitText(position..<tag, before: source[tag + 1], sign: sign)
      let tagLine = line
      move(to: tag + 2 + (sign == nil ? 0 : 1))
      switch source[tag + 1] {
      case "#": try skipComment(from: tagLine)
      case "%":
        if let body = rawBegin(tag) { move(to: body); try readRaw(from: tagLine) } else { try readTag(.blockBegin, tagLine) }
      default: try readTag(.variableBegin, tagLine)
      }
    }
    tokens.append(JinjaToken(kind: .end, line: line))
    return tokens
  }

  // MARK: - Text

  private func at(_ index: Int) -> Unicode.Scalar? { index < source.count ? source[index] : nil }

  private func matches(_ text: String, at index: Int) -> Bool {
    var i = index
    for scalar in text.unicodeScalars {
      guard at(i) == scalar else { return false }
      i += 1
    }
    return true
  }

  private func nextTag() -> Int? {
    var i = position
    while i + 1 < source.count {
      if source[i] == "{", ["{", "%", "#"].contains(source[i + 1]) { return i }
      i += 1
    }
    return nil
  }

  /// Advances, counting lines.
  private mutating func move(to end: Int) {
    for i in position..<end where source[i] == "\n" { line += 1 }
    if end > position { atLineStart = source[end - 1] == "\n" }
    position = end
  }

  /// Text before a tag: `-` removes all white space, and a block or comment that starts its line removes its indentation.
  private mutating func emitText(_ range: Range<Int>, before tag: Unicode.Scalar = "{", sign: Unicode.Scalar? = "+") {
    var end = range.upperBound
    if sign == "-" {
      while end > range.lowerBound, source[end - 1].isPythonSpace { end -= 1 }
    } else if sign == nil, tag != "{" {
      var start = end
      while start > range.lowerBound, source[start - 1] != "\n", source[start - 1].isPythonSpace { start -= 1 }
      let startsLine = start > range.lowerBound ? source[start - 1] == "\n" : atLineStart
      if startsLine { end = start }
    }
    if end > range.lowerBound { tokens.append(JinjaToken(kind: .text(string(range.lowerBound..<end)), line: line)) }
    move(to: range.upperBound)
  }

  private func string(_ range: Range<Int>) -> String {
    var text = String.UnicodeScalarView()
    text.append(contentsOf: source[range])
    return String(text)
  }

  private func skippingSpace(_ index: Int) -> Int {
    var i = index
    while let scalar = at(i), scalar.isPythonSpace { i += 1 }
    return i
  }

  /// Where a tag's closing mark that starts at `index` ends; nil if there is none. Blocks and comments swallow one newline.
  private func closing(_ mark: String, at index: Int, trims: Bool) -> Int? {
    if matches("-" + mark, at: index) { return skippingSpace(index + 3) }
    if trims, matches("+" + mark, at: index) { return index + 3 }
    guard matches(mark, at: index) else { return nil }
    return trims && at(index + 2) == "\n" ? index + 3 : index + 2
  }

  private mutating func skipComment(from tagLine: Int) throws {
    var i = position
    while i < source.count {
      if let end = closing("#}", at: i, trims: true) { return move(to: end) }
      i += 1
    }
    throw ChatTemplateError(line: tagLine, message: "a comment is not closed; write '#}' at its end.")
  }

  /// Where the text of a raw block starts, if the tag at `tag` opens one.
  private func rawBegin(_ tag: Int) -> Int? {
    var i = skippingSpace(position)
    guard matches("raw", at: i) else { return nil }
    i = skippingSpace(i + 3)
    if matches("-%}", at: i) { return skippingSpace(i + 3) }
    return matches("%}", at: i) ? i + 2 : nil
  }

  private mutating func readRaw(from tagLine: Int) throws {
    var i = position
    while i < source.count {
      if matches("{%", at: i) {
        let sign = at(i + 2).flatMap { $0 == "-" || $0 == "+" ? $0 : nil }
        let name = skippingSpace(i + 2 + (sign == nil ? 0 : 1))
        if matches("endraw", at: name), let end = closing("%}", at: skippingSpace(name + 6), trims: true) {
          emitText(position..<i, before: "%", sign: sign)
          return move(to: end)
        }
      }
      i += 1
    }
    throw ChatTemplateError(line: tagLine, message: "a raw block is not closed; write '{% endraw %}' at its end.")
  }

  // MARK: - Code

  private mutating func readTag(_ begin: JinjaToken.Kind, _ tagLine: Int) throws {
    tokens.append(JinjaToken(kind: begin, line: tagLine))
    let isBlock = begin == .blockBegin
    var open: [String] = []
    while position < source.count {
      if open.isEmpty, let end = closing(isBlock ? "%}" : "}}", at: position, trims: isBlock) {
        tokens.append(JinjaToken(kind: isBlock ? .blockEnd : .variableEnd, line: line))
        return move(to: end)
      }
      let scalar = source[position]
      if scalar.isPythonSpace {
        move(to: skippingSpace(position))
      } else if scalar.isDecimalDigit {
        try readNumber()
      } else if scalar.isIdentifierPart {
        var end = position
        while let next = at(end), next.isIdentifierPart { end += 1 }
        tokens.append(JinjaToken(kind: .name(string(position..<end)), line: line))
        move(to: end)
      } else if scalar == "'" || scalar == "\"" {
        try readString(quote: scalar)
      } else {
        try readSymbol(&open)
      }
    }
    throw ChatTemplateError(
      line: tagLine, message: "a tag is not closed; write '\(isBlock ? "%}" : "}}")' at its end.")
  }

  private mutating func readSymbol(_ open: inout [String]) throws {
    let two = ["//", "**", "==", "!=", ">=", "<="].first { matches($0, at: position) }
    let symbol = two ?? String(Character(source[position]))
    guard two != nil || "+-/*%~[](){}><=.:|,;".contains(symbol) else {
      throw ChatTemplateError(line: line, message: "the character '\(symbol)' has no meaning inside a tag.")
    }
    switch symbol {
    case "(": open.append(")")
    case "[": open.append("]")
    case "{": open.append("}")
    case ")", "]", "}":
      guard let expected = open.popLast() else {
        throw ChatTemplateError(line: line, message: "'\(symbol)' closes nothing.")
      }
      guard expected == symbol else {
        throw ChatTemplateError(line: line, message: "'\(symbol)' stands where '\(expected)' must close a bracket.")
      }
    default: break
    }
    tokens.append(JinjaToken(kind: .symbol(symbol), line: line))
    move(to: position + symbol.unicodeScalars.count)
  }

  /// Digits with single underscores between them, in a base; returns where they end.
  private func digits(from start: Int, base: Int) -> Int {
    var i = start
    while let scalar = at(i) {
      if scalar == "_", i > start, let next = at(i + 1), next.digit(base: base) != nil { i += 1; continue }
      guard scalar.digit(base: base) != nil else { break }
      i += 1
    }
    return i
  }

  private mutating func readNumber() throws {
    let start = position
    if source[start] == "0", let mark = at(start + 1), let base = ["b": 2, "o": 8, "x": 16][Character(mark).lowercased()] {
      let first = at(start + 2) == "_" ? start + 3 : start + 2
      let end = digits(from: first, base: base)
      if end > first { return try emitInteger(string(first..<end), base: base, end: end) }
    }
    var end = digits(from: start, base: 10)
    let integerEnd = end
    if start == 0 || source[start - 1] != "." {
      if at(end) == ".", at(end + 1)?.isDecimalDigit == true { end = digits(from: end + 1, base: 10) }
      if at(end) == "e" || at(end) == "E" {
        let first = at(end + 1) == "+" || at(end + 1) == "-" ? end + 2 : end + 1
        if at(first)?.isDecimalDigit == true { end = digits(from: first, base: 10) }
      }
    }
    if end == integerEnd {
      // A number that starts with 0 is only zeros: what follows is a number of its own.
      if source[start] == "0" { end = start; while at(end) == "0" { end += 1 } }
      return try emitInteger(string(start..<end), base: 10, end: end)
    }
    let text = string(start..<end).filter { $0 != "_" }
    tokens.append(JinjaToken(kind: .float(Double(text) ?? .nan), line: line))
    move(to: end)
  }

  private mutating func emitInteger(_ digits: String, base: Int, end: Int) throws {
    guard let value = Int(digits.filter { $0 != "_" }, radix: base) else {
      throw ChatTemplateError(line: line, message: "the number \(digits) does not fit in 64 bits.")
    }
    tokens.append(JinjaToken(kind: .integer(value), line: line))
    move(to: end)
  }

  private mutating func readString(quote: Unicode.Scalar) throws {
    let start = position
    var i = start + 1
    var text = String.UnicodeScalarView()
    while let scalar = at(i) {
      if scalar == quote {
        tokens.append(JinjaToken(kind: .string(String(text)), line: line))
        return move(to: i + 1)
      }
      if scalar == "\\" { i = try unescape(i + 1, into: &text) } else { text.append(scalar); i += 1 }
    }
    throw ChatTemplateError(line: line, message: "a string is not closed.")
  }

  /// Reads what follows a backslash as Python does, and returns where it ends.
  private func unescape(_ index: Int, into text: inout String.UnicodeScalarView) throws -> Int {
    guard let scalar = at(index) else { return index }
    let plain: [Unicode.Scalar: Unicode.Scalar] = [
      "n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", "\"": "\"",
      "a": "\u{7}", "b": "\u{8}", "f": "\u{C}", "v": "\u{B}",
    ]
    if let value = plain[scalar] { text.append(value); return index + 1 }
    if scalar == "\n" { return index + 1 }
    if let width = ["x": 2, "u": 4, "U": 8][scalar] {
      let end = index + 1 + width
      guard end <= source.count, let code = UInt32(string(index + 1..<end), radix: 16) else {
        throw ChatTemplateError(line: line, message: "'\\\(scalar)' in a string needs \(width) hexadecimal digits.")
      }
      text.append(Unicode.Scalar(code) ?? "\u{FFFD}")
      return end
    }
    if scalar.digit(base: 8) != nil {
      var end = index
      while end < index + 3, at(end)?.digit(base: 8) != nil { end += 1 }
      text.append(Unicode.Scalar(UInt32(string(index..<end), radix: 8)!) ?? "\u{FFFD}")
      return end
    }
    text.append("\\")
    text.append(scalar)
    return index + 1
  }
}
