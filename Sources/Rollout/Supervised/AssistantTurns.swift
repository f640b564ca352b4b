import JSON

/// Where the assistant's turns lie in a rendered conversation, found by rendering it again with one turn replaced.
///
/// A chat template may render a message differently depending on what follows it, so the text of a prefix of the conversation
/// need not be a prefix of the text. What is compared is therefore always the whole conversation: with a placeholder for one
/// turn, all before that turn and all after it stays as it is.
struct AssistantTurns {
  /// The whole conversation.
  let text: String
  private let codec: PromptCodec
  private let conversation: Conversation
  private let utf8: [UInt8]

  /// Of a private-use plane: in no text, and no tokenizer's business.
  private static let placeholder = "\u{F5A17}\u{F0C3E}"

  init(codec: PromptCodec, conversation: Conversation) throws {
    (self.codec, self.conversation) = (codec, conversation)
    text = try codec.render(conversation, false)
    utf8 = Array(text.utf8)
  }

  /// The UTF-8 range that an assistant message's turn would have been sampled as.
  func turn(of message: Int) throws -> Range<Int> {
    func failure(_ reason: String) -> SampleError {
      SampleError("message \(message): the turn cannot be found in the rendered conversation (\(reason))")
    }
    let (before, after) = try aroundPlaceholder(conversation.messages, replacing: message)
    guard utf8.hasSuffix(after) else { throw failure("the text behind it depends on its content") }
    let contentEnd = utf8.count - after.count
    // What comes before the turn's content, and perhaps the beginning of its content.
    let shared = utf8.prefix(commonPrefix(utf8, before))
    guard let start = try start(of: message, in: shared) else {
      throw failure("its generation prompt does not come before it")
    }
    guard start <= contentEnd else { throw failure("its end lies before its start") }
    let (_, closing) = try aroundPlaceholder(Array(conversation.messages[...message]), replacing: message)
    return start..<contentEnd + commonPrefix(closing, after)
  }

  private func aroundPlaceholder(
    _ messages: [JSONValue], replacing message: Int
  ) throws -> (before: [UInt8], after: [UInt8]) {
    var changed = conversation
    changed.messages = messages
    changed.messages[message] = ["role": "assistant", "content": .string(Self.placeholder)]
    let parts = try codec.render(changed, false).components(separatedBy: Self.placeholder)
    guard parts.count == 2 else {
      throw SampleError(
        "message \(message): the chat template writes an assistant's content \(parts.count - 1) times, so its turn cannot "
          + "be found")
    }
    return (Array(parts[0].utf8), Array(parts[1].utf8))
  }

  /// Where the assistant goes on from the generation prompt.
  private func start(of message: Int, in shared: ArraySlice<UInt8>) throws -> Int? {
    var prefix = conversation
    prefix.messages = Array(conversation.messages[..<message])
    let closed = Array(try codec.render(prefix, false).utf8)
    let open = Array(try codec.render(prefix, true).utf8)
    guard open.starts(with: closed), open.count > closed.count else {
      // Some templates (Llama 2, Mistral) have the assistant go on right behind the user.
      return open == closed && shared.starts(with: closed) ? closed.count : nil
    }
    return shared.end(ofLast: Array(open[closed.count...]))
  }
}

private func commonPrefix(_ a: [UInt8], _ b: [UInt8]) -> Int {
  let count = min(a.count, b.count)
  return (0..<count).first { a[$0] != b[$0] } ?? count
}

extension [UInt8] {
  fileprivate func hasSuffix(_ suffix: [UInt8]) -> Bool {
    count >= suffix.count && self[(count - suffix.count)...] == suffix[...]
  }
}

extension ArraySlice<UInt8> {
  /// Where the last occurrence of `text` ends. It may also be cut off by the end of the slice: a generation prompt can begin
  /// what the assistant then says itself (`<think>`), and a turn can lack that.
  fileprivate func end(ofLast text: [UInt8]) -> Int? {
    if count >= text.count {
      for start in stride(from: endIndex - text.count, through: startIndex, by: -1)
      where self[start..<start + text.count] == text[...] { return start + text.count }
    }
    let longest = Swift.min(count, text.count - 1)
    return stride(from: longest, to: 0, by: -1).contains { suffix($0) == text[..<$0] } ? endIndex : nil
  }
}
