extension Tokenizer {
  /// The bytes that a token adds to a decoded text; nil for special tokens and ids without a token.
  ///
  /// The bytes of tokens, put together, are the UTF-8 of `decode` wherever they are UTF-8, but for spaces that a decoder
  /// takes off the end of a text. They need not be whole characters.
  /// - Parameter isFirst: whether the text begins with the token; some decoders leave out a space there.
  public func bytes(of id: Int, isFirst: Bool = false) -> [UInt8]? {
    guard let token = token(id), !isSpecial(id) else { return nil }
    let stack = MatchStack()
    var bytes = Array(token.utf8)
    var isFused = false
    for step in decoderSteps {
      switch step {
      case .joinBySpaces:
        if !isFirst { bytes.insert(0x20, at: 0) }
      case .fuse:
        isFused = true
      case .byteLevel:
        bytes = ByteLevelAlphabet.decode(bytes) ?? bytes
        isFused = true
      case .byteFallback:
        if let byte = DecoderState.byte(bytes) { bytes = [byte] }
      case .replace(let pattern, _, let content):
        // Parts of characters are no text, in which something could be found.
        if String(validating: bytes, as: UTF8.self) != nil { bytes = pattern.replacing(in: bytes, with: content, stack) }
      case .strip(let content, let start, let stop):
        if isFirst || !isFused { bytes.removeFirst(Self.repeats(of: content, in: bytes, most: start) * content.count) }
        if !isFused {
          bytes.removeLast(Self.repeats(of: content.reversed(), in: bytes.reversed(), most: stop) * content.count)
        }
      case .metaspace(let replacement, let strips):
        bytes = replacement.replacing(in: bytes, with: strips && isFirst ? [] : [0x20], stack)
      case .bpe(let suffix):
        bytes = suffix.replacing(in: bytes, with: [0x20], stack)
      }
    }
    return bytes
  }

  /// How often bytes begin with `content`.
  private static func repeats(of content: [UInt8], in bytes: [UInt8], most: Int) -> Int {
    guard !content.isEmpty else { return 0 }
    var count = 0
    while count < most, bytes.dropFirst(count * content.count).starts(with: content) { count += 1 }
    return count
  }
}
