import JSON

/// Parts of grammars for JSON as text.
struct JSONText {
  let builder: GrammarBuilder

  /// White space between tokens. Bounded, so that a model cannot write it for ever: a new line and an indentation, or some
  /// spaces.
  func space() throws(GrammarError) -> Int {
    let blank = try builder.scalar(ScalarRanges([0x20...0x20, 0x09...0x09]))
    return try builder.sequence([builder.optional(builder.literal("\n")), builder.repetition(blank, 0, 40)])
  }

  /// Content between brackets; what is in it brings the space after it along.
  func enclosed(_ open: String, _ content: Int, _ close: String) throws(GrammarError) -> Int {
    try builder.sequence([builder.literal(open), space(), content, builder.literal(close)])
  }

  func comma() throws(GrammarError) -> Int { try builder.sequence([builder.literal(","), space()]) }

  func pair(_ key: Int, _ value: Int) throws(GrammarError) -> Int {
    try builder.sequence([key, builder.literal(":"), space(), value, space()])
  }

  /// `element`s with commas between them, `minimum` to `maximum` of them; all begin with a comma when something is before.
  func list(_ element: Int, _ minimum: Int, _ maximum: Int?, isContinued: Bool) throws(GrammarError) -> Int {
    guard maximum.map({ minimum <= $0 }) ?? true else { return try builder.never() }
    let further = try builder.sequence([comma(), element])
    if isContinued || maximum == 0 { return try builder.repetition(further, minimum, maximum) }
    let some = try builder.sequence([element, builder.repetition(further, max(0, minimum - 1), maximum.map { $0 - 1 })])
    return minimum == 0 ? try builder.optional(some) : some
  }

  // MARK: - Values

  /// A value as it is, but for the space in it.
  func constant(_ value: JSONValue) throws(GrammarError) -> Int {
    switch value {
    case .array(let values):
      var parts: [Int] = []
      for (i, value) in values.enumerated() { parts += try (i > 0 ? [comma()] : []) + [constant(value), space()] }
      return try enclosed("[", builder.sequence(parts), "]")
    case .object(let object):
      var parts: [Int] = []
      for (i, pair) in object.pairs.enumerated() {
        let key = try builder.literal(JSONValue.string(pair.key).text())
        parts += try (i > 0 ? [comma()] : []) + [self.pair(key, constant(pair.value))]
      }
      return try enclosed("{", builder.sequence(parts), "}")
    default: return try builder.literal(value.text())
    }
  }

  /// Any number; its exponent has at most three digits.
  func number() throws(GrammarError) -> Int {
    try RegexCompiler(builder).wholeMatch(
      RegexParser.parse("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][+\\-]?[0-9]{1,3})?"))
  }

  /// Any string, of so many characters.
  func string(_ minimum: Int = 0, _ maximum: Int? = nil) throws(GrammarError) -> Int {
    guard maximum.map({ minimum <= $0 }) ?? true else { return try builder.never() }
    let plain = ScalarRanges([0...0x1F, 0x22...0x22, 0x5C...0x5C]).inverted
    let regex = RegexCompiler(builder)
    let hex = "[0-9a-fA-F]"
    // Surrogates come in pairs, and a pair is one character.
    let surrogates = "[dD](?:[0-7]\(hex){2}|[89abAB]\(hex){2}\\\\u[dD][c-fC-F]\(hex){2})"
    let escapes = try regex.wholeMatch(
      RegexParser.parse("\\\\(?:[\"\\\\/bfnrt]|u(?:[0-9a-cefA-CEF]\(hex){3}|\(surrogates)))"))
    return try quoted(builder.repetition(builder.choice([builder.scalar(plain), escapes]), minimum, maximum))
  }

  func quoted(_ content: Int) throws(GrammarError) -> Int {
    try builder.sequence([builder.literal("\""), content, builder.literal("\"")])
  }

  /// One character of a set inside a string, as it is where possible and else in its shortest escape.
  func character(_ set: ScalarRanges) throws(GrammarError) -> Int {
    let escaped = ScalarRanges([0...0x1F, 0x22...0x22, 0x5C...0x5C])
    var branches = [try builder.scalar(set.subtracting(escaped))]
    for range in set.intersection(escaped).ranges {
      for scalar in range {
        let text = JSONValue.string(String(Unicode.Scalar(scalar)!)).text()
        branches.append(try builder.literal(String(text.dropFirst().dropLast())))
      }
    }
    return try builder.choice(branches)
  }

  /// A string whose content is what a regular expression says.
  func string(matching pattern: String, asWhole: Bool) throws(GrammarError) -> Int {
    let compiler = RegexCompiler(builder) { set throws(GrammarError) in try character(set) }
    let node = try RegexParser.parse(pattern)
    return try quoted(asWhole ? compiler.wholeMatch(node) : compiler.partMatch(node))
  }

  /// A string that is none of these, written without escapes that are not needed: no name has a second spelling.
  func string(except names: [String]) throws(GrammarError) -> Int {
    try quoted(rest(names.map { Array($0.unicodeScalars)[...] }))
  }

  private func rest(_ names: [ArraySlice<Unicode.Scalar>]) throws(GrammarError) -> Int {
    let any = try builder.repetition(character(.all), 0, nil)
    if names.isEmpty { return any }
    let groups = Dictionary(grouping: names.filter { !$0.isEmpty }) { $0.first! }
    let firsts = groups.keys.reduce(ScalarRanges()) { $0.union(ScalarRanges($1)) }
    var branches = [try builder.sequence([character(firsts.inverted), any])]
    if !names.contains(where: \.isEmpty) { branches.append(try builder.empty()) }
    for (first, group) in groups.sorted(by: { $0.key < $1.key }) {
      branches.append(try builder.sequence([character(ScalarRanges(first)), rest(group.map { $0.dropFirst() })]))
    }
    return try builder.choice(branches)
  }
}
