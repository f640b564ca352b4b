/// One step of the way from tokens back to text.
enum DecoderStep: Sendable {
  /// Tokens are joined by spaces, for a file without a decoder.
  case joinBySpaces
  case byteLevel
  case byteFallback
  case fuse
  case replace(RegexProgram, literal: [UInt8]?, with: [UInt8])
  case strip([UInt8], start: Int, stop: Int)
  /// Finds the replacement character.
  case metaspace(RegexProgram, strips: Bool)
  /// Finds the suffix.
  case bpe(RegexProgram)

  static func steps(_ component: Component?) throws(TokenizerError) -> [DecoderStep] {
    guard let component else { return [.joinBySpaces] }
    switch component.type {
    case "Sequence":
      var steps: [DecoderStep] = []
      for step in try component.array("decoders") { steps += try Self.steps(step) }
      return steps
    case "ByteLevel": return [.byteLevel]
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "Replace":
      let literal = component.value["pattern"]?["String"]?.string
      let content = Array(try component.string("content").utf8)
      return [.replace(try component.pattern("pattern"), literal: literal.map { Array($0.utf8) }, with: content)]
    case "Strip":
      let content = Array(String(try component.scalar("content")).utf8)
      return [.strip(content, start: try component.count("start"), stop: try component.count("stop"))]
    case "Metaspace":
      let metaspace = try Metaspace(component)
      let literal = RegexProgram.literal(String(decoding: metaspace.replacement, as: UTF8.self))
      return [.metaspace(literal, strips: metaspace.prependScheme != .never)]
    case "BPEDecoder":
      let suffix = try component.string("suffix")
      guard !suffix.isEmpty else { throw component.error("has an empty 'suffix'") }
      return [.bpe(.literal(suffix))]
    default:
      throw component.unsupported("decoder")
    }
  }
}
