import Foundation
import JSON
import Serving
import TestSupport
import Testing
import Tokenization

/// Qwen3's vocabulary and template; the texts are what its model card shows.
@Test func conversationsAreLaidOutByTheModelsTemplate() throws {
  try withTemporaryFolder { folder in
    let files = FileManager.default
    try files.copyItem(
      at: fixture("Tokenization/tokenizers/qwen3/tokenizer.json"), to: folder.appendingPathComponent("tokenizer.json"))
    let tokenizerAlone = try Tokenizer(folder: folder)
    #expect(throws: (any Error).self) { try ModelPromptEncoder(tokenizerAlone).encode(Conversation(messages: [])) }
    try files.copyItem(at: fixture("ChatTemplates/qwen3.jinja"), to: folder.appendingPathComponent("chat_template.jinja"))
    let tokenizer = try Tokenizer(folder: folder)
    let encoder = try ModelPromptEncoder(tokenizer)

    func tokens(_ text: String) -> [Int] { tokenizer.encode(text, addSpecialTokens: false) }
    let user: JSONValue = ["role": "user", "content": "hi"]
    let opening = "<|im_start|>user\nhi<|im_end|>\n"
    #expect(try encoder.encode(Conversation(messages: [user])) == tokens(opening + "<|im_start|>assistant\n"))
    #expect(try encoder.encode(Conversation(messages: [user], ending: .lastMessage)) == tokens(opening))
    let quick = Conversation(messages: [user], variables: ["enable_thinking": false])
    #expect(try encoder.encode(quick) == tokens(opening + "<|im_start|>assistant\n<think>\n\n</think>\n\n"))
    let begun = Conversation(messages: [user, ["role": "assistant", "content": "Well"]], ending: .insideLastMessage)
    let text = encoder.decode(try encoder.encode(begun))
    #expect(text.hasPrefix(opening + "<|im_start|>assistant\n") && text.hasSuffix("Well"))
    #expect(encoder.decode(encoder.encode("a b")) == "a b")
  }
}
