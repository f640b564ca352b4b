import Foundation
import JSON
import Tokenization

extension PromptCodec {
  /// A model's tokenizer and its chat template.
  /// - Parameter chatTemplate: nil: conversations cannot be rendered.
  public init(tokenizer: Tokenizer, chatTemplate: ChatTemplate?) {
    let special = [
      ("bos_token", tokenizer.bosToken), ("eos_token", tokenizer.eosToken), ("pad_token", tokenizer.padToken),
    ]
    self.init(
      chatTemplate: chatTemplate,
      specialTokens: Dictionary(uniqueKeysWithValues: special.compactMap { name, token in token.map { (name, $0) } }),
      encode: { tokenizer.encode($0, addSpecialTokens: false) },
      decode: { tokenizer.decode($0, skipSpecialTokens: $1) })
  }

  /// - Parameter specialTokens: By the names under which templates know them (`bos_token`).
  public init(
    chatTemplate: ChatTemplate?, specialTokens: [String: String], encode: @escaping @Sendable (String) throws -> [Int],
    decode: @escaping @Sendable ([Int], Bool) throws -> String
  ) {
    // A conversation is rendered several times and must not change when midnight comes between.
    let now = Date()
    let special = specialTokens.mapValues(JSONValue.string)
    @Sendable func rendered(_ conversation: Conversation, _ addGenerationPrompt: Bool) throws -> ChatTemplate.Rendered {
      guard let chatTemplate else {
        throw SampleError("the model has no chat template, so messages cannot be rendered; use prompts that are text")
      }
      let given = Dictionary(uniqueKeysWithValues: conversation.arguments.pairs.map { ($0.key, $0.value) })
      return try chatTemplate.renderWithGenerationMask(
        messages: conversation.messages, tools: conversation.tools, addGenerationPrompt: addGenerationPrompt,
        variables: special.merging(given) { $1 }, now: now)
    }
    let marksGenerations = chatTemplate?.source.contains("endgeneration") ?? false
    self.init(
      encode: encode, decode: decode, render: { try rendered($0, $1).text },
      renderGenerations: { conversation in
        guard marksGenerations else { return nil }
        let result = try rendered(conversation, false)
        return (result.text, result.generated)
      })
  }
}
