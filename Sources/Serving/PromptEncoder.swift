import JSON

/// What the server needs of a tokenizer: text to tokens, and back for single tokens.
public protocol PromptEncoder: Sendable {
  /// The tokens of a prompt, with the special tokens that the tokenizer puts around one.
  func encode(_ text: String) throws -> [Int]

  /// The same, with or without those special tokens.
  func encode(_ text: String, addSpecialTokens: Bool) throws -> [Int]

  /// The text of tokens, special tokens included.
  func decode(_ tokens: [Int]) -> String

  /// The text of tokens, with or without the special tokens.
  func decode(_ tokens: [Int], skipSpecialTokens: Bool) -> String

  /// The tokens of a conversation, laid out by the model's chat template.
  /// - Throws: any error whose description tells the client what is wrong.
  func encode(_ conversation: Conversation) throws -> [Int]
}

/// What a chat template lays out.
public struct Conversation: Sendable, Equatable {
  public enum Ending: Sendable, Equatable {
    /// With the last message.
    case lastMessage
    /// With the head of an assistant message, for the model to write.
    case assistantHead
    /// Inside the last message, for the model to go on with.
    case insideLastMessage
  }

  /// Objects with `role` and `content`, as in the OpenAI API.
  public var messages: [JSONValue]
  public var tools: [JSONValue]?
  public var ending: Ending
  /// What the client adds for the template (`chat_template_kwargs`).
  public var variables: JSONObject

  public init(
    messages: [JSONValue], tools: [JSONValue]? = nil, ending: Ending = .assistantHead, variables: JSONObject = [:]
  ) {
    (self.messages, self.tools, self.ending, self.variables) = (messages, tools, ending, variables)
  }
}
