import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Tokenization

/// `stop_regex`, over a real engine.
@Suite struct StopRegexTests {
  @Test func responsesEndWithTheTokenThatCompletesAMatch() async throws {
    try await withTinyServer { client, tokenizer in
      // What is written is known, so that what must stop it is as well.
      func ask(_ stop: JSONValue, _ text: String = "ab 123, é4567 z") async throws -> JSONValue {
        let answer = try await client.generate([
          "text": "x", "sampling_params": ["stop_regex": stop, "ebnf": .string("root ::= \"\(text)\""), "max_new_tokens": 99],
        ])
        #expect(answer.status == 200, "\(answer.body)")
        return answer.json
      }
      let four = try await ask(["never", "[0-9]{4}"])
      let text = four["text"]!.string!
      #expect(four["meta_info"]?["finish_reason"] == ["type": "stop", "matched": "[0-9]{4}"])
      #expect(text.contains("4567") && "ab 123, é4567 z".hasPrefix(text))
      // No token sooner would have done.
      let tokens = four["output_ids"]!.array!.compactMap(\.int)
      #expect(!tokenizer.decode(tokens.dropLast()).contains("4567"))
      #expect(try await ask("^b")["meta_info"]?["finish_reason"]?["matched"] != "^b")
      #expect(try await ask("^a")["text"]?.string?.hasPrefix("a") == true)
      for bad in ["(", "", String(repeating: "a", count: 257)] {
        let answer = try await client.generate(["text": "x", "sampling_params": ["stop_regex": .string(bad)]])
        #expect(answer.status == 400 && answer.message.contains("stop_regex"), "\(answer.body)")
      }
    }
  }
}
