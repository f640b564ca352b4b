import JSON

/// How the trained tokens of a conversation are found (`--loss-mask-type`).
public enum LossMaskType: String, Sendable, Codable, CaseIterable {
  /// Every assistant turn, where the chat template puts it when it renders the whole conversation.
  case qwen
  /// The same; the template drops the thinking of earlier turns, and so it is not trained on.
  case qwen3
  /// The last message alone, as it is, after the prompt that the engine would see: for templates that would cut the thinking
  /// out of the last turn as well.
  case distillQwen = "distill_qwen"
}

/// Tokens of a conversation, and which of them are trained on.
public struct MaskedConversation: Sendable, Equatable {
  public var tokens: [Int]
  /// 1 or 0 for each token.
  public var mask: [Int]
}

/// Finds the tokens of a conversation that its assistant would have sampled.
public struct LossMaskGenerator: Sendable {
  let codec: PromptCodec
  let type: LossMaskType

  public init(codec: PromptCodec, type: LossMaskType = .qwen) { (self.codec, self.type) = (codec, type) }

  /// The tokens are those of the whole rendered conversation, exactly. A turn is trained on from behind the generation prompt
  /// through the template's end of turn; a message with `step_loss_mask` 0 is not trained on. A template's own
  /// `{% generation %}` blocks decide instead, where it has them.
  /// - Throws: `SampleError` naming the message whose turn cannot be found.
  public func tokenize(_ conversation: Conversation) throws -> MaskedConversation {
    guard conversation.messages.contains(where: \.isAssistant) else {
      throw SampleError("the conversation has no assistant message to train on")
    }
    if type == .distillQwen { return try lastMessage(of: conversation) }
    let (text, turns) = try trainedText(of: conversation)
    return try TokenAlignment(encode: codec.encode, text: text).mask(turns)
  }

  private func trainedText(of conversation: Conversation) throws -> (text: String, turns: [Range<Int>]) {
    let trained = conversation.messages.enumerated().filter { $0.element.isTrained }.map(\.offset)
    if let (text, generations) = try codec.renderGenerations(conversation) {
      let assistants = conversation.messages.indices.filter { conversation.messages[$0].isAssistant }
      if assistants == trained { return (text, generations) }
      guard generations.count == assistants.count else {
        throw SampleError(
          "the chat template has \(generations.count) generation blocks for \(assistants.count) assistant messages, so "
            + "step_loss_mask cannot be applied")
      }
      return (text, zip(assistants, generations).filter { trained.contains($0.0) }.map(\.1))
    }
    let finder = try AssistantTurns(codec: codec, conversation: conversation)
    return (finder.text, try trained.map(finder.turn))
  }

  private func lastMessage(of conversation: Conversation) throws -> MaskedConversation {
    guard let last = conversation.messages.last, last.isAssistant, let content = last["content"]?.string else {
      throw SampleError("with --loss-mask-type distill_qwen the last message must be an assistant's, with text")
    }
    var before = conversation
    before.messages.removeLast()
    let prompt = try codec.encode(codec.render(before, true))
    let response = try codec.encode(content)
    let mask = Array(repeating: 0, count: prompt.count) + Array(repeating: last.isTrained ? 1 : 0, count: response.count)
    return MaskedConversation(tokens: prompt + response, mask: mask)
  }
}

extension JSONValue {
  var isAssistant: Bool { self["role"]?.string == "assistant" }
  var isTrained: Bool { isAssistant && self["step_loss_mask"]?.int ?? 1 == 1 }
}
