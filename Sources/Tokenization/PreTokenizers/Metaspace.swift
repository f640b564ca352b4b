/// SentencePiece's way with spaces: each becomes a visible character, usually `▁`, which words begin with.
struct Metaspace: Sendable {
  enum PrependScheme: String, Sendable { case always, first, never }

  let replacement: [UInt8]
  let prependScheme: PrependScheme
  private let splitter: RegexProgram?
  private let space = RegexProgram.literal(" ")

  init(_ component: Component) throws(TokenizerError) {
    let scalar = try component.scalar("replacement")
    replacement = Array(String(scalar).utf8)
    if let scheme = component.optional("prepend_scheme") {
      guard let known = PrependScheme(rawValue: try scheme.string()) else {
        throw scheme.error("must be always, first or never")
      }
      prependScheme = known
    } else {
      // Files from before `prepend_scheme` have this instead.
      prependScheme = try component.bool("add_prefix_space", default: true) ? .always : .never
    }
    splitter = try component.bool("split", default: true) ? .literal(String(scalar)) : nil
  }

  func apply(to pieces: inout Pieces, _ stack: MatchStack) {
    let startsAtOrigin = pieces.startsAtOrigin
    pieces.rewrite { text, piece in
      let text = space.replacing(in: text, with: replacement, stack)
      let prepends = switch prependScheme {
      case .always: true
      case .first: piece.start == 0 && startsAtOrigin
      case .never: false
      }
      return prepends && !text.starts(with: replacement) ? replacement + text : text
    }
    if let splitter { PreTokenizer.split(&pieces, splitter, .mergedWithNext, false, stack) }
  }
}
