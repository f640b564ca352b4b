import Foundation
import JSON

/// What a rollout needs of a tokenizer and its chat template.
public struct PromptCodec: Sendable {
  /// Token ids of a text in which special tokens are written out; none are added.
  public var encode: @Sendable (_ text: String) throws -> [Int]
  /// The text of token ids.
  public var decode: @Sendable (_ tokens: [Int], _ skipSpecialTokens: Bool) throws -> String
  /// The chat template's text of a conversation.
  public var render: @Sendable (Conversation, _ addGenerationPrompt: Bool) throws -> String
  /// A prompt's tokens with as many for each picture as it takes; by default pictures are refused.
  public var placeImages: @Sendable (_ tokens: [Int], _ images: [Data]) throws -> [Int] = { tokens, images in
    guard images.isEmpty else { throw SampleError("the model takes no pictures, and the prompt has \(images.count); leave them out") }
    return tokens
  }
  /// The text of a conversation with the UTF-8 ranges of its `{% generation %}` blocks; nil when the template has none.
  public var renderGenerations: @Sendable (Conversation) throws -> (text: String, generations: [Range<Int>])?

  public init(
    encode: @escaping @Sendable (String) throws -> [Int],
    decode: @escaping @Sendable ([Int], Bool) throws -> String,
    render: @escaping @Sendable (Conversation, Bool) throws -> String,
    renderGenerations: @escaping @Sendable (Conversation) throws -> (text: String, generations: [Range<Int>])? = { _ in nil }
  ) {
    (self.encode, self.decode, self.render, self.renderGenerations) = (encode, decode, render, renderGenerations)
  }
}

/// What a chat template renders.
public struct Conversation: Sendable, Equatable {
  public var messages: [JSONValue]
  public var tools: [JSONValue]?
  /// Further variables of the template (`--apply-chat-template-kwargs`).
  public var arguments: JSONObject

  public init(messages: [JSONValue], tools: [JSONValue]? = nil, arguments: JSONObject = [:]) {
    (self.messages, self.tools, self.arguments) = (messages, tools, arguments)
  }
}
