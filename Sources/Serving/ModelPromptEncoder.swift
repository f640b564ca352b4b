import Inference
import JSON
import Tokenization

/// Encodes prompts with the tokenizer and the chat template of a model's folder.
public struct ModelPromptEncoder: PromptEncoder {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate?
  /// The special tokens, by the names under which templates know them.
  private let specialTokens: [String: JSONValue]

  /// - Throws: `ChatTemplateError` when the folder's chat template cannot be read.
  public init(_ tokenizer: Tokenizer) throws {
    self.tokenizer = tokenizer
    template = try tokenizer.chatTemplate.map(ChatTemplate.init(source:))
    let configuration = tokenizer.configuration
    specialTokens = [
      "bos_token": configuration.bosToken, "eos_token": configuration.eosToken, "pad_token": configuration.padToken,
      "unk_token": configuration.unkToken,
    ].compactMapValues { $0.map(JSONValue.string) }
  }

  public func encode(_ text: String) -> [Int] { tokenizer.encode(text) }

  public func encode(_ text: String, addSpecialTokens: Bool) -> [Int] {
    tokenizer.encode(text, addSpecialTokens: addSpecialTokens)
  }

  public func decode(_ tokens: [Int]) -> String { tokenizer.decode(tokens) }

  public func decode(_ tokens: [Int], skipSpecialTokens: Bool) -> String {
    tokenizer.decode(tokens, skipSpecialTokens: skipSpecialTokens)
  }

  public func encode(_ conversation: Conversation) throws -> [Int] {
    guard let template else {
      throw InvalidRequest("the model has no chat template; use /v1/completions or /generate.")
    }
    var variables = specialTokens
    for (key, value) in conversation.variables.pairs { variables[key] = value }
    let text =
      if conversation.ending == .insideLastMessage {
        try template.renderContinuingFinalMessage(
          messages: conversation.messages, tools: conversation.tools, variables: variables)
      } else {
        try template.render(
          messages: conversation.messages, tools: conversation.tools,
          addGenerationPrompt: conversation.ending == .assistantHead, variables: variables)
      }
    // The template writes all special tokens itself.
    return tokenizer.encode(text, addSpecialTokens: false)
  }
}
