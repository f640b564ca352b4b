import Foundation
import JSON
import Rollout
import TestSupport
import Testing
import Tokenization

@Suite struct LossMaskTests {
  static let special = ["bos_token": "<s>", "eos_token": "</s>"]
  static let bytes: @Sendable (String) -> [Int] = { $0.utf8.map(Int.init) }

  static func codec(_ template: String, encode: @escaping @Sendable (String) throws -> [Int] = bytes) throws -> PromptCodec {
    let source = try String(contentsOf: fixture("ChatTemplates/\(template).jinja"), encoding: .utf8)
    return PromptCodec(
      chatTemplate: try ChatTemplate(source: source), specialTokens: special, encode: encode, decode: { _, _ in "" })
  }

  /// Without `{% generation %}` blocks, so that turns must be found.
  static func unmarked(_ codec: PromptCodec) -> PromptCodec {
    PromptCodec(encode: codec.encode, decode: codec.decode, render: codec.render)
  }

  @Test func turnsAreThoseOfTransformers() throws {
    let rows = try #require(JSONValue(parsing: Data(contentsOf: fixture("loss_masks/turns.json"))).array)
    #expect(rows.count == 69)
    for row in rows {
      let name = row["template"]!.string!
      let conversation = Conversation(messages: row["messages"]!.array!, tools: row["tools"]!.array)
      let marked = try Self.codec(name)
      let text = try marked.render(conversation, false)
      var expected = Array(repeating: 0, count: text.utf8.count)
      for turn in row["turns"]!.array! {
        for position in turn.array![0].int!..<turn.array![1].int! { expected[position] = 1 }
      }
      // SmolLM3's own blocks hold the head of the turn as well, which is no turn's beginning to find.
      for codec in name == "smollm3" ? [marked] : [marked, Self.unmarked(marked)] {
        do {
          let masked = try LossMaskGenerator(codec: codec).tokenize(conversation)
          #expect(masked.tokens == Self.bytes(text))
          #expect(masked.mask == expected, "\(name) \(row["case"]!.string!)")
        } catch { Issue.record("\(name) \(row["case"]!.string!): \(error)") }
      }
    }
  }

  @Test func stepLossMaskLeavesMessagesOut() throws {
    var messages: [JSONValue] = [
      ["role": "user", "content": "a"], ["role": "assistant", "content": "b", "step_loss_mask": 0],
      ["role": "user", "content": "c"], ["role": "assistant", "content": "d"],
    ]
    for codec in [try Self.codec("phi4"), Self.unmarked(try Self.codec("phi4"))] {
      let masked = try LossMaskGenerator(codec: codec).tokenize(Conversation(messages: messages))
      let trained = zip(masked.tokens, masked.mask).filter { $0.1 == 1 }.map { UInt8($0.0) }
      #expect(String(decoding: trained, as: UTF8.self) == "d<|im_end|>")
    }
    messages.removeAll { $0["role"] == "assistant" }
    #expect(throws: SampleError.self) {
      try LossMaskGenerator(codec: Self.codec("phi4")).tokenize(Conversation(messages: messages))
    }
  }

  @Test func distilledModelsTrainOnTheLastMessageAsItIs() throws {
    let codec = try Self.codec("deepseek-r1")
    let messages: [JSONValue] = [
      ["role": "user", "content": "2*3?"], ["role": "assistant", "content": "Six.\n</think>\n\n6"],
    ]
    let masked = try LossMaskGenerator(codec: codec, type: .distillQwen).tokenize(Conversation(messages: messages))
    let prompt = try codec.render(Conversation(messages: Array(messages[..<1])), true)
    #expect(masked.tokens == Self.bytes(prompt + "Six.\n</think>\n\n6"))
    #expect(masked.mask == prompt.utf8.map { _ in 0 } + "Six.\n</think>\n\n6".utf8.map { _ in 1 })
  }

  /// A tokenizer that joins line breaks, so that one of them can reach over the start of a turn.
  static let joining: @Sendable (String) -> [Int] = { text in
    text.utf8.reduce(into: []) { tokens, byte in
      if byte == 10, let last = tokens.last, last == 10 || last >= 1000 {
        tokens[tokens.count - 1] = max(last, 1001) + 1
      } else {
        tokens.append(Int(byte))
      }
    }
  }

  @Test func tokensAcrossTheStartOfATurnAreNotTrained() throws {
    let codec = try Self.codec("qwen2.5", encode: Self.joining)
    let messages: [JSONValue] = [["role": "user", "content": "a"], ["role": "assistant", "content": "\n\nb"]]
    let masked = try LossMaskGenerator(codec: codec).tokenize(Conversation(messages: messages))
    #expect(masked.tokens == Self.joining(try codec.render(Conversation(messages: messages), false)))
    let first = try #require(masked.mask.firstIndex(of: 1))
    // assistant, then three line breaks as one token, then the b.
    #expect(masked.tokens[first - 1] == 1003 && masked.tokens[first] == 98)
    #expect(masked.mask[first...].allSatisfy { $0 == 1 })
  }

  @Test func samplesBeginAtTheFirstTrainedToken() async throws {
    let data = try withTemporaryFolder { folder in
      var options = PromptDataset.Options()
      (options.inputKey, options.keepsMessages) = ("messages", true)
      return try dataset(
        [
          #"{"messages":[{"role":"user","content":"2+2?"},{"role":"assistant","content":"4"}]}"#,
          #"{"messages":[{"role":"user","content":"2+2?"}]}"#,
        ], in: folder, options)
    }
    let rollout = SupervisedRollout(masks: LossMaskGenerator(codec: try Self.codec("qwen2.5")))
    let source = RolloutDataSource(dataset: data)
    let sample = try await rollout.generate(count: 1, from: source)[0]
    #expect(String(decoding: sample.responseTokens.map(UInt8.init), as: UTF8.self) == "4<|im_end|>\n")
    #expect(sample.lossMask == sample.responseTokens.map { _ in 1 } && sample.reward == .number(0))
    let error = await #expect(throws: SampleError.self) { _ = try await rollout.generate(count: 1, from: source) }
    #expect(error?.description.hasPrefix("sample 1: ") == true)
  }
}
