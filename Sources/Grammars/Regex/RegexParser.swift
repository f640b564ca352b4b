/// What a regular expression says.
indirect enum RegexNode: Equatable {
  case set(ScalarRanges)
  case sequence([RegexNode])
  case alternation([RegexNode])
  case repetition(RegexNode, minimum: Int, maximum: Int?)
  /// `^` and `$`.
  case start, end

  var hasAnchor: Bool {
    switch self {
    case .set: false
    case .start, .end: true
    case .sequence(let nodes), .alternation(let nodes): nodes.contains(where: \.hasAnchor)
    case .repetition(let node, _, _): node.hasAnchor
    }
  }
}

/// Parses the syntax that Python and JavaScript have in common. `\d`, `\w` and `\s` are ASCII's, as in xgrammar; what a
/// grammar cannot express (lookaround, backreferences, word boundaries) is refused by name.
struct RegexParser {
  private static let maximumDepth = 100
  private static let maximumCount = 100_000

  private let pattern: String
  private let scalars: [Unicode.Scalar]
  private var index = 0
  private var depth = 0

  static func parse(_ pattern: String) throws(GrammarError) -> RegexNode {
    var parser = RegexParser(pattern)
    let node = try parser.alternation()
    guard parser.next == nil else { throw parser.error("has a ')' without '('") }
    return node
  }

  private init(_ pattern: String) {
    self.pattern = pattern
    scalars = Array(pattern.unicodeScalars)
  }

  private func error(_ message: String) -> GrammarError {
    GrammarError("the regex \(pattern.debugDescription) \(message), at character \(index).")
  }

  private var next: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

  private mutating func skip(_ text: String) -> Bool {
    guard scalars[index...].starts(with: text.unicodeScalars) else { return false }
    index += text.unicodeScalars.count
    return true
  }

  // MARK: - Structure

  private mutating func alternation() throws(GrammarError) -> RegexNode {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Self.maximumDepth else { throw error("has groups nested deeper than \(Self.maximumDepth)") }
    var branches = [try sequence()]
    while skip("|") { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .alternation(branches)
  }

  private mutating func sequence() throws(GrammarError) -> RegexNode {
    var nodes: [RegexNode] = []
    while let scalar = next, scalar != "|", scalar != ")" {
      let atom = try atom()
      guard let (minimum, maximum) = try quantifier() else {
        nodes.append(atom)
        continue
      }
      guard !atom.hasAnchor else { throw error("repeats an anchor, which is not supported") }
      // How greedy it is does not matter to which texts match as a whole.
      _ = skip("?")
      if next == "+" { throw error("has a possessive quantifier, which is not supported") }
      let mark = index
      guard try quantifier() == nil else { index = mark; throw error("has a quantifier after a quantifier") }
      nodes.append(.repetition(atom, minimum: minimum, maximum: maximum))
    }
    return nodes.count == 1 ? nodes[0] : .sequence(nodes)
  }

  private mutating func quantifier() throws(GrammarError) -> (Int, Int?)? {
    if skip("*") { return (0, nil) }
    if skip("+") { return (1, nil) }
    if skip("?") { return (0, 1) }
    let mark = index
    guard skip("{") else { return nil }
    let low = decimal()
    let hasComma = skip(",")
    let high = hasComma ? decimal() : low
    guard skip("}"), low != nil || high != nil else { index = mark; return nil }
    guard (low ?? 0) <= Self.maximumCount, (high ?? 0) <= Self.maximumCount else {
      throw error("repeats something more than \(Self.maximumCount) times")
    }
    guard high == nil || low ?? 0 <= high! else { throw error("has a range whose end is before its start") }
    return (low ?? 0, high)
  }

  private mutating func decimal() -> Int? {
    var value: Int?
    while let scalar = next, ("0"..."9").contains(scalar) {
      value = min((value ?? 0) * 10 + Int(scalar.value - 0x30), Self.maximumCount + 1)
      index += 1
    }
    return value
  }

  // MARK: - Atoms

  private mutating func atom() throws(GrammarError) -> RegexNode {
    let scalar = scalars[index]
    index += 1
    switch scalar {
    case ".": return .set(ScalarRanges("\n").inverted)
    case "^": return .start
    case "$": return .end
    case "[": return .set(try bracket())
    case "(": return try group()
    case "\\": return try escape()
    case "*", "+", "?": throw error("has a quantifier without anything to repeat")
    case "{":
      index -= 1
      guard try quantifier() == nil else { throw error("has a quantifier without anything to repeat") }
      index += 1
      return .set(ScalarRanges("{"))
    default: return .set(ScalarRanges(scalar))
    }
  }

  private mutating func group() throws(GrammarError) -> RegexNode {
    if skip("?") {
      if skip("=") || skip("!") { throw error("has a lookahead, which is not supported") }
      if skip("<=") || skip("<!") { throw error("has a lookbehind, which is not supported") }
      if skip("P=") { throw error("has a backreference, which is not supported") }
      if skip("P<") || skip("<") {
        while let scalar = next, scalar != ">" { index += 1 }
        guard skip(">") else { throw error("has a group name without '>'") }
      } else if !skip(":") {
        throw error("has a group that begins with '(?\(next.map(String.init) ?? "")', which is not supported")
      }
    }
    let node = try alternation()
    guard skip(")") else { throw error("has a '(' without ')'") }
    return node
  }

  private mutating func escape() throws(GrammarError) -> RegexNode {
    switch next {
    case "b", "B": throw error("has a word boundary, which is not supported")
    case "A": index += 1; return .start
    case "Z", "z": index += 1; return .end
    case "k": throw error("has a backreference, which is not supported")
    case let digit? where ("1"..."9").contains(digit): throw error("has a backreference, which is not supported")
    default: return .set(try escapedSet())
    }
  }

  /// `\d` and its like, or one character.
  private mutating func escapedSet() throws(GrammarError) -> ScalarRanges {
    guard let scalar = next else { throw error("ends in a backslash") }
    let set: ScalarRanges
    switch scalar {
    case "d", "D": set = .digit
    case "w", "W": set = .word
    case "s", "S": set = .whitespace
    case "p", "P": throw error("has a Unicode property, which is not supported")
    default: return ScalarRanges(try escapedScalar())
    }
    index += 1
    return ["D", "W", "S"].contains(scalar) ? set.inverted : set
  }

  private mutating func escapedScalar() throws(GrammarError) -> Unicode.Scalar {
    guard let scalar = next else { throw error("ends in a backslash") }
    index += 1
    switch scalar {
    case "n": return "\n"
    case "r": return "\r"
    case "t": return "\t"
    case "f": return "\u{0C}"
    case "v": return "\u{0B}"
    case "a": return "\u{07}"
    case "0": return "\0"
    case "x": return try hexadecimal(2)
    case "u":
      guard skip("{") else {
        let first = try surrogateOrScalar(4)
        guard (0xD800...0xDBFF).contains(first), skip("\\u") else { return try valid(first) }
        let second = try surrogateOrScalar(4)
        guard (0xDC00...0xDFFF).contains(second) else { return try valid(first) }
        return try valid(0x1_0000 + (first - 0xD800) << 10 + (second - 0xDC00))
      }
      var digits = ""
      while let scalar = next, scalar != "}" { digits.unicodeScalars.append(scalar); index += 1 }
      guard skip("}"), let value = UInt32(digits, radix: 16) else { throw error("has a '\\u{' without a code point") }
      return try valid(value)
    case "U": return try hexadecimal(8)
    default:
      guard !scalar.properties.isAlphabetic, !("1"..."9").contains(scalar) else {
        throw error("has '\\\(scalar)', which is not supported")
      }
      return scalar
    }
  }

  private mutating func hexadecimal(_ count: Int) throws(GrammarError) -> Unicode.Scalar {
    try valid(try surrogateOrScalar(count))
  }

  private mutating func surrogateOrScalar(_ count: Int) throws(GrammarError) -> UInt32 {
    let digits = String(String.UnicodeScalarView(scalars[index...].prefix(count)))
    guard digits.utf8.count == count, digits.utf8.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }) else {
      throw error("has an escape without its \(count) hexadecimal digits")
    }
    index += count
    return UInt32(digits, radix: 16)!
  }

  private func valid(_ value: UInt32) throws(GrammarError) -> Unicode.Scalar {
    guard let scalar = Unicode.Scalar(value) else { throw error("has an escape that is no character") }
    return scalar
  }

  // MARK: - Character classes

  /// A class, after its `[`.
  private mutating func bracket() throws(GrammarError) -> ScalarRanges {
    let negated = skip("^")
    var set = ScalarRanges()
    var isFirst = true
    while true {
      guard let scalar = next else { throw error("has a '[' without ']'") }
      if scalar == "]", !isFirst { index += 1; break }
      isFirst = false
      let low = try classItem()
      guard next == "-", index + 1 < scalars.count, scalars[index + 1] != "]" else {
        set = set.union(low.set)
        continue
      }
      index += 1
      let high = try classItem()
      guard let first = low.scalar, let last = high.scalar, first <= last else {
        throw error("has a range of characters whose ends do not fit together")
      }
      set = set.union(ScalarRanges(first...last))
    }
    return negated ? set.inverted : set
  }

  /// A character, or a set like `\d`.
  private mutating func classItem() throws(GrammarError) -> (set: ScalarRanges, scalar: Unicode.Scalar?) {
    guard let scalar = next else { throw error("has a '[' without ']'") }
    index += 1
    if scalar != "\\" { return (ScalarRanges(scalar), scalar) }
    if skip("b") { return (ScalarRanges("\u{08}"), "\u{08}") }
    if let next, "dDwWsSpP".unicodeScalars.contains(next) { return (try escapedSet(), nil) }
    let escaped = try escapedScalar()
    return (ScalarRanges(escaped), escaped)
  }
}
