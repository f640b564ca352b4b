/// Turns tokens into text as they come.
///
/// What `append` and `finish` return, put together, is what `Tokenizer.decode` returns for all the tokens. A character that
/// takes several tokens is returned when it is complete.
public struct StreamDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  private var states: [DecoderState]
  private var text: [UInt8] = []

  public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = false) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
    states = tokenizer.decoderSteps.map(DecoderState.init)
  }

  /// The text that this token completes; "" for an id that is not in the vocabulary.
  public mutating func append(_ id: Int) -> String {
    push(id)
    return takeText()
  }

  /// The text that was held back for tokens that do not come. Afterwards the decoder is as new.
  public mutating func finish() -> String {
    for index in states.indices {
      let parts = collect { emit, states in states[index].finish(emit) }
      for part in parts { push(part, from: index + 1) }
    }
    states = tokenizer.decoderSteps.map(DecoderState.init)
    return takeText()
  }

  mutating func push(_ id: Int) {
    guard let token = tokenizer.token(id), !(skipSpecialTokens && tokenizer.isSkipped(id)) else { return }
    push(TokenPart(bytes: Array(token.utf8), isStart: true, isEnd: true), from: 0)
  }

  private mutating func push(_ part: TokenPart, from index: Int) {
    if index == states.count { text += part.bytes; return }
    for next in collect({ emit, states in states[index].push(part, emit) }) { push(next, from: index + 1) }
  }

  private mutating func collect(_ body: ((TokenPart) -> Void, inout [DecoderState]) -> Void) -> [TokenPart] {
    var parts: [TokenPart] = []
    body({ parts.append($0) }, &states)
    return parts
  }

  private mutating func takeText() -> String {
    defer { text.removeAll(keepingCapacity: true) }
    return String(decoding: text, as: UTF8.self)
  }
}
