/// Parses the syntax of Oniguruma (as Ruby has it, which is what `tokenizers` uses).
struct RegexParser {
  private let pattern: String
  private let scalars: [Unicode.Scalar]
  private var index = 0
  private var ignoresCase = false
  private var dotMatchesNewline = false
  private var extended = false

  static func parse(_ pattern: String) throws(RegexError) -> RegexNode {
    var parser = RegexParser(pattern)
    let node = try parser.alternation()
    guard parser.next == nil else { throw parser.error("')' without '('") }
    return node
  }

  private init(_ pattern: String) {
    self.pattern = pattern
    scalars = Array(pattern.unicodeScalars)
  }

  private func error(_ message: String) -> RegexError {
    RegexError(pattern: pattern, message: "\(message) (at character \(index))")
  }

  private var next: Unicode.Scalar? { index < scalars.count ? scalars[index] : nil }

  private mutating func skip(_ text: String) -> Bool {
    guard scalars[index...].starts(with: text.unicodeScalars) else { return false }
    index += text.unicodeScalars.count
    return true
  }

  // MARK: - Structure

  private mutating func alternation() throws(RegexError) -> RegexNode {
    let flags = (ignoresCase, dotMatchesNewline, extended)
    defer { (ignoresCase, dotMatchesNewline, extended) = flags }
    var branches = [try sequence()]
    while skip("|") { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .alternation(branches)
  }

  private mutating func sequence() throws(RegexError) -> RegexNode {
    var nodes: [RegexNode] = []
    var run: [Unicode.Scalar] = []
    while let scalar = next, scalar != "|", scalar != ")" {
      if extended, scalar.properties.isPatternWhitespace { index += 1; continue }
      if extended, scalar == "#" { while let scalar = next, scalar != "\n" { index += 1 }; continue }
      if let rest = try isolatedFlags() { nodes.append(rest); break }
      let start = index
      guard let atom = try atom() else { continue }
      let node = try quantified(atom)
      run = index == start + 1 && node == atom ? run + [scalar] : []
      if ignoresCase { try checkFolding(run) }
      nodes.append(node)
    }
    return nodes.count == 1 ? nodes[0] : nodes.isEmpty ? .empty : .sequence(nodes)
  }

  /// `(?i)` holds to the end of the group, alternatives included: `a(?i)b|c` is `a(?i:b|c)`.
  private mutating func isolatedFlags() throws(RegexError) -> RegexNode? {
    let mark = index
    guard skip("(?"), let flags = flags(), skip(")") else { index = mark; return nil }
    (ignoresCase, dotMatchesNewline, extended) = flags
    return try alternation()
  }

  private mutating func flags() -> (Bool, Bool, Bool)? {
    var flags = (ignoresCase, dotMatchesNewline, extended)
    var (on, count) = (true, 0)
    while let scalar = next {
      switch scalar {
      case "i": flags.0 = on
      case "m": flags.1 = on
      case "x": flags.2 = on
      case "-": on = false
      default: return count > 0 ? flags : nil
      }
      count += 1
      index += 1
    }
    return nil
  }

  private mutating func quantified(_ atom: RegexNode) throws(RegexError) -> RegexNode {
    var node = atom
    while let (minimum, maximum, isInterval) = try quantifier() {
      if case .repetition = node {} else if case .anchor = node { throw error("a quantifier after an anchor") }
      if isInterval {
        // In Ruby's syntax `{n,m}+` repeats the repetition, and `{n}?` makes it optional.
        if minimum == maximum, skip("?") {
          node = .repetition(.repetition(node, minimum: minimum, maximum: maximum, .greedy), minimum: 0, maximum: 1, .greedy)
        } else {
          node = .repetition(node, minimum: minimum, maximum: maximum, skip("?") ? .lazy : .greedy)
        }
      } else {
        let greed: RegexNode.Greed = skip("?") ? .lazy : skip("+") ? .possessive : .greedy
        node = .repetition(node, minimum: minimum, maximum: maximum, greed)
      }
    }
    return node
  }

  private mutating func quantifier() throws(RegexError) -> (Int, Int?, isInterval: Bool)? {
    if skip("*") { return (0, nil, false) }
    if skip("+") { return (1, nil, false) }
    if skip("?") { return (0, 1, false) }
    let mark = index
    guard skip("{") else { return nil }
    let low = digits(radix: 10)
    let hasComma = skip(",")
    let high = hasComma ? digits(radix: 10) : low
    guard skip("}"), low != nil || high != nil else { index = mark; return nil }
    guard (low ?? 0) <= 1000, (high ?? 0) <= 1000 else { throw error("a repetition of more than 1000") }
    guard high == nil || low ?? 0 <= high! else { throw error("an interval whose end is before its start") }
    return (low ?? 0, high, true)
  }

  private mutating func digits(radix: Int, most: Int = 8) -> Int? {
    var (value, count) = (0, 0)
    while count < most, let scalar = next, let digit = Character(scalar).hexDigitValue, digit < radix {
      value = value * radix + digit
      count += 1
      index += 1
    }
    return count > 0 ? value : nil
  }

  // MARK: - Atoms

  /// The next atom; nil after a comment.
  private mutating func atom() throws(RegexError) -> RegexNode? {
    let scalar = scalars[index]
    index += 1
    switch scalar {
    case ".": return .set(dotMatchesNewline ? .all : ScalarSet("\n").inverted)
    case "^": return .anchor(.lineStart)
    case "$": return .anchor(.lineEnd)
    case "[": return .set(try bracket())
    case "(": return try group()
    case "\\": return try escape()
    case "*", "+", "?": throw error("a quantifier without anything to repeat")
    case "{":
      index -= 1
      guard try quantifier() == nil else { throw error("a quantifier without anything to repeat") }
      index += 1
      return .set(ScalarSet("{"))
    default: return .set(folded(ScalarSet(scalar)))
    }
  }

  private func folded(_ set: ScalarSet) -> ScalarSet { ignoresCase ? UnicodeProperties.caseClosure(of: set) : set }

  /// Letters that fold to several scalars (ß to ss) would need matches of different lengths.
  private func checkFolding(_ run: [Unicode.Scalar]) throws(RegexError) {
    guard let last = run.last else { return }
    let tail = String(String.UnicodeScalarView(run.suffix(2))).lowercased()
    let many = ["ff", "fi", "fl", "st", "ss", "i\u{307}", "j\u{30C}", "h\u{331}", "t\u{308}", "w\u{30A}", "y\u{30A}"]
    guard !many.contains(tail), last.properties.uppercaseMapping.unicodeScalars.count == 1,
      last.properties.lowercaseMapping.unicodeScalars.count == 1
    else { throw error("case-insensitive '\(tail)' has a form of another length, which is not supported") }
  }

  private mutating func group() throws(RegexError) -> RegexNode? {
    guard skip("?") else { return try closed() }
    if skip("#") {
      while let scalar = next, scalar != ")" { index += 1 }
      guard skip(")") else { throw error("a comment without ')'") }
      return nil
    }
    if skip(":") { return try closed() }
    if skip(">") { return .atomic(try closed()) }
    if skip("=") { return .lookahead(try closed(), negative: false) }
    if skip("!") { return .lookahead(try closed(), negative: true) }
    if skip("<=") { return try lookbehind(negative: false) }
    if skip("<!") { return try lookbehind(negative: true) }
    if skip("<") {
      while let scalar = next, scalar != ">" { index += 1 }
      guard skip(">") else { throw error("a group name without '>'") }
      return try closed()
    }
    let saved = (ignoresCase, dotMatchesNewline, extended)
    guard let flags = flags(), skip(":") else { throw error("an unsupported kind of group") }
    (ignoresCase, dotMatchesNewline, extended) = flags
    let node = try closed()
    (ignoresCase, dotMatchesNewline, extended) = saved
    return node
  }

  private mutating func closed() throws(RegexError) -> RegexNode {
    let node = try alternation()
    guard skip(")") else { throw error("'(' without ')'") }
    return node
  }

  private mutating func lookbehind(negative: Bool) throws(RegexError) -> RegexNode {
    guard case .set(let set) = try closed() else { throw error("a lookbehind of more than one character is not supported") }
    return .lookbehind(set, negative: negative)
  }

  private mutating func escape() throws(RegexError) -> RegexNode {
    if let set = try setEscape() { return .set(set) }
    switch next {
    case "A": index += 1; return .anchor(.textStart)
    case "z": index += 1; return .anchor(.textEnd)
    case "Z": index += 1; return .anchor(.textEndOrLastNewline)
    case "b": index += 1; return .anchor(.wordBoundary)
    case "B": index += 1; return .anchor(.noWordBoundary)
    case "R":
      index += 1
      let newline = ScalarSet([0x0A...0x0D, 0x85...0x85, 0x2028...0x2029])
      return .atomic(.alternation([.sequence([.set(ScalarSet("\r")), .set(ScalarSet("\n"))]), .set(newline)]))
    default: return .set(folded(ScalarSet([try scalarEscape()])))
    }
  }

  /// `\s`, `\p{…}` and their like.
  private mutating func setEscape() throws(RegexError) -> ScalarSet? {
    guard let scalar = next else { throw error("'\\' at the end") }
    let set: ScalarSet
    switch scalar {
    case "s", "S": set = UnicodeProperties.whitespace
    case "d", "D": set = UnicodeProperties.decimalDigit
    case "w", "W": set = UnicodeProperties.word
    case "h", "H": set = ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
    case "p", "P": return try property(negated: scalar == "P")
    default: return nil
    }
    index += 1
    return scalar.properties.isUppercase ? set.inverted : set
  }

  private mutating func property(negated: Bool) throws(RegexError) -> ScalarSet {
    index += 1
    guard skip("{") else { throw error("'\\p' without '{'") }
    let caret = skip("^")
    var name = ""
    while let scalar = next, scalar != "}" { name.unicodeScalars.append(scalar); index += 1 }
    guard skip("}") else { throw error("'\\p{' without '}'") }
    guard let set = UnicodeProperties.named(name) ?? posix(name) else { throw error("the property '\(name)' is not known") }
    return folded(negated != caret ? set.inverted : set)
  }

  private mutating func scalarEscape() throws(RegexError) -> UInt32 {
    guard let scalar = next else { throw error("'\\' at the end") }
    index += 1
    switch scalar {
    case "n": return 0x0A
    case "r": return 0x0D
    case "t": return 0x09
    case "f": return 0x0C
    case "v": return 0x0B
    case "a": return 0x07
    case "e": return 0x1B
    case "x", "u":
      let braced = scalar == "x" && skip("{")
      guard let value = digits(radix: 16, most: braced ? 8 : scalar == "x" ? 2 : 4), value <= ScalarSet.maximum else {
        throw error("'\\\(scalar)' without a code point")
      }
      guard !braced || skip("}") else { throw error("'\\x{' without '}'") }
      return UInt32(value)
    case "0": return UInt32(digits(radix: 8, most: 2) ?? 0)
    default:
      guard !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
        throw error("'\\\(scalar)' is not supported")
      }
      return scalar.value
    }
  }

  // MARK: - Character classes

  /// A class, after its `[`.
  private mutating func bracket() throws(RegexError) -> ScalarSet {
    let negated = skip("^")
    var result: ScalarSet?
    var set = ScalarSet()
    var isFirst = true
    while true {
      guard let scalar = next else { throw error("'[' without ']'") }
      if scalar == "]", !isFirst { index += 1; break }
      isFirst = false
      if skip("&&") {
        result = result?.intersection(set) ?? set
        set = ScalarSet()
      } else if skip("[:") {
        set = set.union(try posixBracket())
      } else if skip("[") {
        set = set.union(try bracket())
      } else if scalar == "\\", let escaped = try classEscape() {
        set = set.union(escaped)
      } else {
        set = set.union(try range())
      }
    }
    set = folded(result?.intersection(set) ?? set)
    return negated ? set.inverted : set
  }

  private mutating func classEscape() throws(RegexError) -> ScalarSet? {
    index += 1
    let set = try setEscape()
    if set == nil { index -= 1 }
    return set
  }

  private mutating func range() throws(RegexError) -> ScalarSet {
    let low = try classScalar()
    guard next == "-", index + 1 < scalars.count, scalars[index + 1] != "]" else { return ScalarSet([low]) }
    index += 1
    guard next != "[" else { index -= 1; return ScalarSet([low]) }
    let high = try classScalar()
    guard low <= high else { throw error("a range whose end is before its start") }
    return ScalarSet([low...high])
  }

  private mutating func classScalar() throws(RegexError) -> UInt32 {
    let scalar = scalars[index]
    index += 1
    guard scalar == "\\" else { return scalar.value }
    if next == "b" { index += 1; return 0x08 }
    return try scalarEscape()
  }

  private mutating func posixBracket() throws(RegexError) -> ScalarSet {
    let negated = skip("^")
    var name = ""
    while let scalar = next, scalar != ":" { name.unicodeScalars.append(scalar); index += 1 }
    guard skip(":]"), let set = posix(name) else { throw error("the class '[:\(name):]' is not known") }
    return negated ? set.inverted : set
  }

  private func posix(_ name: String) -> ScalarSet? {
    func property(_ name: String) -> ScalarSet { UnicodeProperties.named(name)! }
    switch name.lowercased() {
    case "alnum": return property("Alphabetic").union(property("Nd"))
    case "alpha": return property("Alphabetic")
    case "ascii": return ScalarSet([0...0x7F])
    case "blank": return property("Zs").union(ScalarSet("\t"))
    case "cntrl": return property("Cc")
    case "digit": return property("Nd")
    case "graph": return property("Cn").union(property("Cc")).union(property("Z")).inverted
    case "lower": return property("Lowercase")
    case "print": return property("Cn").union(property("Cc")).union(ScalarSet([0x2028...0x2029])).inverted
    case "punct": return property("P").union(property("S"))
    case "space": return property("White_Space")
    case "upper": return property("Uppercase")
    case "word": return property("word")
    case "xdigit": return ScalarSet([0x30...0x39, 0x41...0x46, 0x61...0x66])
    default: return nil
    }
  }
}
