/// How a text is cut into the words that the model sees.
enum PreTokenizer: Sendable {
  case sequence([PreTokenizer])
  case split(RegexProgram, SplitBehavior, invert: Bool)
  case byteLevel(addPrefixSpace: Bool, pattern: RegexProgram?)
  case metaspace(Metaspace)

  private static let gpt2Pattern = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  init(_ component: Component) throws(TokenizerError) {
    func scalars(_ set: ScalarSet, _ behavior: SplitBehavior) -> PreTokenizer {
      .split(.scalar(of: set), behavior, invert: false)
    }
    switch component.type {
    case "Sequence":
      var steps: [PreTokenizer] = []
      for step in try component.array("pretokenizers") { steps.append(try PreTokenizer(step)) }
      self = .sequence(steps)
    case "Split":
      self = .split(
        try component.pattern("pattern"), try SplitBehavior(component.required("behavior")),
        invert: try component.bool("invert", default: false))
    case "ByteLevel":
      var pattern: RegexProgram?
      if try component.bool("use_regex", default: true) {
        do throws(RegexError) { pattern = try RegexProgram(Self.gpt2Pattern) } catch { throw component.error("\(error)") }
      }
      self = .byteLevel(addPrefixSpace: try component.bool("add_prefix_space"), pattern: pattern)
    case "Metaspace":
      self = .metaspace(try Metaspace(component))
    case "Digits":
      let individual = try component.bool("individual_digits")
      self = scalars(UnicodeProperties.rustNumeric, individual ? .isolated : .contiguous)
    case "Whitespace":
      let space = UnicodeProperties.whitespace
      let other = UnicodeProperties.rustWord.union(space).inverted
      let run = { RegexNode.repetition(.set($0), minimum: 1, maximum: nil, .greedy) }
      do throws(RegexError) {
        let program = try RegexProgram(.alternation([run(UnicodeProperties.rustWord), run(other)]))
        self = .split(program, .removed, invert: true)
      } catch { throw component.error("\(error)") }
    case "WhitespaceSplit":
      self = scalars(UnicodeProperties.whitespace, .removed)
    case "Punctuation":
      let behavior = try component.optional("behavior").map { behavior throws(TokenizerError) in try SplitBehavior(behavior) }
      self = scalars(UnicodeProperties.rustPunctuation, behavior ?? .isolated)
    case "BertPreTokenizer":
      self = .sequence([
        scalars(UnicodeProperties.whitespace, .removed), scalars(UnicodeProperties.rustPunctuation, .isolated),
      ])
    case "CharDelimiterSplit":
      self = scalars(ScalarSet(try component.scalar("delimiter")), .removed)
    default:
      throw component.unsupported("pre-tokenizer")
    }
  }

  /// - Parameter isLast: nothing follows, so that the model itself can read bytes and a `ByteLevel` need not rewrite them.
  func apply(to pieces: inout Pieces, isLast: Bool, _ stack: MatchStack) {
    switch self {
    case .sequence(let steps):
      for (i, step) in steps.enumerated() { step.apply(to: &pieces, isLast: isLast && i == steps.count - 1, stack) }
    case .split(let pattern, let behavior, let invert):
      Self.split(&pieces, pattern, behavior, invert, stack)
    case .byteLevel(let addPrefixSpace, let pattern):
      if addPrefixSpace {
        pieces.rewrite { text, _ in text.first == UInt8(ascii: " ") ? text : [UInt8(ascii: " ")] + text }
      }
      if let pattern { Self.split(&pieces, pattern, .isolated, false, stack) }
      if !isLast { pieces.rewrite { text, _ in ByteLevelAlphabet.encode(text) } }
    case .metaspace(let metaspace):
      metaspace.apply(to: &pieces, stack)
    }
  }

  static func split(
    _ pieces: inout Pieces, _ pattern: RegexProgram, _ behavior: SplitBehavior, _ invert: Bool, _ stack: MatchStack
  ) {
    let isSimple = behavior == .isolated || behavior == .removed
    pieces.split { text, piece, emit in
      var done = piece.start
      var parts: [(range: Range<Int>, isMatch: Bool)] = []
      let keepsMatches = behavior == .isolated || invert
      let keepsOthers = behavior == .isolated || !invert
      func part(_ start: Int, _ end: Int, isMatch: Bool) {
        if !isSimple { parts.append((start..<end, isMatch != invert)) } else if isMatch ? keepsMatches : keepsOthers { emit(start, end) }
      }
      pattern.forEachMatch(in: text + piece.start, end: piece.end - piece.start, stack) { start, end in
        if piece.start + start > done { part(done, piece.start + start, isMatch: false) }
        part(piece.start + start, piece.start + end, isMatch: true)
        done = piece.start + end
      }
      if done < piece.end { part(done, piece.end, isMatch: false) }
      if !isSimple { for range in behavior.apply(parts) { emit(range.lowerBound, range.upperBound) } }
    }
  }

  /// Whether the model gets words in the byte-level alphabet.
  var endsInByteLevel: Bool {
    switch self {
    case .sequence(let steps): steps.last?.endsInByteLevel ?? false
    case .byteLevel: true
    case .split, .metaspace: false
    }
  }
}
