/// Parses grammars as xgrammar and llama.cpp write them: `name ::= expression`, with strings, character classes, `|`, groups,
/// `*`, `+`, `?`, `{n,m}` and `#` comments. A text is what the rule `root` matches.
struct EBNFParser {
  private static let maximumDepth = 100
  private static let maximumCount = 100_000

  private let builder: GrammarBuilder
  private let scalars: [Unicode.Scalar]
  private var index = 0
  private var depth = 0
  private var rules: [String: Int] = [:]
  private var defined: Set<String> = []

  /// - Returns: the node of `root`.
  static func parse(_ text: String, _ builder: GrammarBuilder) throws(GrammarError) -> Int {
    var parser = EBNFParser(text, builder)
    try parser.grammar()
    guard let root = parser.rules["root"], parser.defined.contains("root") else {
      throw GrammarError("the EBNF grammar has no rule root.")
    }
    return try builder.rule(root)
  }

  private init(_ text: String, _ builder: GrammarBuilder) { (self.builder, scalars) = (builder, Array(text.unicodeScalars)) }

  private func error(_ message: String) -> GrammarError {
    let line = 1 + scalars[..<min(index, scalars.count)].count { $0 == "\n" }
    return GrammarError("the EBNF grammar \(message), at line \(line).")
  }

  private var next: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

  private mutating func skip(_ text: String) -> Bool {
    guard scalars[index...].starts(with: text.unicodeScalars) else { return false }
    index += text.unicodeScalars.count
    return true
  }

  private mutating func skipSpace() {
    while let scalar = next {
      if scalar == "#" {
        while let scalar = next, scalar != "\n" { _ = scalar; index += 1 }
      } else if [" ", "\t", "\n", "\r"].contains(scalar) {
        index += 1
      } else {
        return
      }
    }
  }

  private mutating func name() -> String? {
    var name = String.UnicodeScalarView()
    while let scalar = next, ScalarRanges.word.contains(scalar) || scalar == "-" || scalar == "." {
      if name.isEmpty, scalar == "." || scalar == "-" || ScalarRanges.digit.contains(scalar) { break }
      name.append(scalar)
      index += 1
    }
    return name.isEmpty ? nil : String(name)
  }

  private mutating func rule(_ name: String) -> Int {
    if let known = rules[name] { return known }
    let rule = builder.declareRule(name)
    rules[name] = rule
    return rule
  }

  private mutating func grammar() throws(GrammarError) {
    skipSpace()
    while next != nil {
      guard let name = name() else { throw error("has no rule name where a rule should begin") }
      skipSpace()
      guard skip("::=") else { throw error("has no '::=' after the rule name \(name)") }
      guard defined.insert(name).inserted else { throw error("defines the rule \(name) twice") }
      let body = try alternation()
      builder.define(rule(name), as: body)
      skipSpace()
    }
  }

  private mutating func alternation() throws(GrammarError) -> Int {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw error("has groups nested deeper than \(Self.maximumDepth)") }
    var branches = [try sequence()]
    while skip("|") { branches.append(try sequence()) }
    return try builder.choice(branches)
  }

  private mutating func sequence() throws(GrammarError) -> Int {
    var parts: [Int] = []
    while true {
      skipSpace()
      guard let element = try element() else { return try builder.sequence(parts) }
      parts.append(try quantified(element))
    }
  }

  /// The next element; nil at the end of a sequence, or where the next rule begins.
  private mutating func element() throws(GrammarError) -> Int? {
    switch next {
    case nil, "|", ")": return nil
    case "\"":
      index += 1
      return try string()
    case "[":
      index += 1
      return try builder.scalar(try characters())
    case ".":
      index += 1
      return try builder.scalar(.all)
    case "(":
      index += 1
      if next == "=" { throw error("has a lookahead, which is not supported") }
      let node = try alternation()
      skipSpace()
      guard skip(")") else { throw error("has a '(' without ')'") }
      return node
    default:
      let mark = index
      guard let name = name() else { throw error("has an unexpected '\(next!)'") }
      skipSpace()
      if skip("::=") {
        index = mark
        return nil
      }
      if next == "(" , ["TagDispatch", "Token", "ExcludeToken"].contains(name) {
        throw error("uses \(name), which is not supported")
      }
      index = mark
      _ = self.name()
      return try builder.rule(rule(name))
    }
  }

  private mutating func quantified(_ element: Int) throws(GrammarError) -> Int {
    var node = element
    while true {
      if skip("*") { node = try builder.repetition(node, 0, nil) }
      else if skip("+") { node = try builder.repetition(node, 1, nil) }
      else if skip("?") { node = try builder.optional(node) }
      else if skip("{") {
        skipSpace()
        let low = try count()
        skipSpace()
        var high: Int? = low
        if skip(",") {
          skipSpace()
          high = next == "}" ? nil : try count()
          skipSpace()
        }
        guard skip("}"), high == nil || low <= high! else { throw error("has a '{' that does not begin a repetition") }
        node = try builder.repetition(node, low, high)
      } else {
        return node
      }
    }
  }

  private mutating func count() throws(GrammarError) -> Int {
    var value: Int?
    while let scalar = next, ScalarRanges.digit.contains(scalar) {
      value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), Self.maximumCount + 1)
      index += 1
    }
    guard let value else { throw error("has a '{' that does not begin a repetition") }
    guard value <= Self.maximumCount else { throw error("repeats something more than \(Self.maximumCount) times") }
    return value
  }

  // MARK: - Characters

  private mutating func string() throws(GrammarError) -> Int {
    var parts: [Int] = []
    while let scalar = next, scalar != "\"", scalar != "\n" {
      parts.append(try builder.scalar(ScalarRanges(try character())))
    }
    guard skip("\"") else { throw error("has a string without its closing quote") }
    return try builder.sequence(parts)
  }

  private mutating func characters() throws(GrammarError) -> ScalarRanges {
    let negated = skip("^")
    var set = ScalarRanges()
    while let scalar = next, scalar != "]" {
      let low = try character()
      if next == "-", index + 1 < scalars.count, scalars[index + 1] != "]" {
        index += 1
        let high = try character()
        guard low <= high else { throw error("has a range of characters whose end is before its start") }
        set = set.union(ScalarRanges(low...high))
      } else {
        set = set.union(ScalarRanges(low))
      }
    }
    guard skip("]") else { throw error("has a '[' without ']'") }
    return negated ? set.inverted : set
  }

  private mutating func character() throws(GrammarError) -> Unicode.Scalar {
    let scalar = scalars[index]
    index += 1
    guard scalar == "\\" else { return scalar }
    guard let escaped = next else { throw error("ends in a backslash") }
    index += 1
    switch escaped {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "f": return "\u{0C}"
    case "v": return "\u{0B}"
    case "b": return "\u{08}"
    case "a": return "\u{07}"
    case "0": return "\0"
    case "x": return try hexadecimal(2)
    case "u": return try hexadecimal(4)
    case "U": return try hexadecimal(8)
    default:
      guard !escaped.properties.isAlphabetic else { throw error("has '\\\(escaped)', which is not supported") }
      return escaped
    }
  }

  private mutating func hexadecimal(_ count: Int) throws(GrammarError) -> Unicode.Scalar {
    let digits = String(String.UnicodeScalarView(scalars[index...].prefix(count)))
    guard digits.utf8.count == count, let value = UInt32(digits, radix: 16), let scalar = Unicode.Scalar(value) else {
      throw error("has an escape without its \(count) hexadecimal digits of a character")
    }
    index += count
    return scalar
  }
}
