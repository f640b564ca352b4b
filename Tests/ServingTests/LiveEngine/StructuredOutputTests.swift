import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Tokenization

/// Grammars over HTTP, on a real engine.
@Suite struct StructuredOutputTests {
  private static let schema: JSONValue = [
    "type": "object", "properties": ["a": ["type": "integer", "maximum": 99, "minimum": 0], "b": ["enum": ["x", "y"]]],
    "required": ["a", "b"], "additionalProperties": false,
  ]

  private static func expectObject(_ text: String?) throws {
    let value = try JSONValue(parsing: text ?? "")
    #expect(value.object?.keys == ["a", "b"] && (0...99).contains(value["a"]?.int ?? -1))
    #expect(["x", "y"].contains(value["b"]?.string ?? ""))
  }

  @Test func everyRouteTakesGrammars() async throws {
    try await withTinyServer { client, _ in
      for schema in [JSONValue.string(Self.schema.text()), Self.schema] {
        let answer = try await client.generate([
          "text": "abc", "sampling_params": ["json_schema": schema, "max_new_tokens": 200],
        ])
        try Self.expectObject(answer.json["text"]?.string)
        #expect(answer.json["meta_info"]?["finish_reason"] == ["type": "stop", "matched": 400])
      }
      let regex = try await client.generate(["text": ["a", "b"], "sampling_params": ["regex": "(yes|no)"]])
      #expect(regex.json.array!.allSatisfy { ["yes", "no"].contains($0["text"]?.string ?? "") })
      let ebnf = try await client.generate([
        "text": "a", "stream": true, "sampling_params": ["ebnf": "root ::= \"a\" [0-9]{2}"],
      ])
      #expect(ebnf.events.last?["text"]?.string?.wholeMatch(of: /a[0-9]{2}/) != nil)
      let format: JSONValue = ["type": "json_schema", "json_schema": ["name": "n", "strict": true, "schema": Self.schema]]
      let completion = try await client.post(
        "/v1/completions", ["prompt": "abc", "max_tokens": 200, "response_format": format])
      try Self.expectObject(completion.json["choices"]?.array?.first?["text"]?.string)
      let chat = try await client.post(
        "/v1/chat/completions",
        ["messages": [["role": "user", "content": "hi"]], "max_tokens": 200, "response_format": format, "n": 2])
      for choice in chat.json["choices"]!.array! {
        try Self.expectObject(choice["message"]?["content"]?.string)
        #expect(choice["finish_reason"] == "stop")
      }
      let object = try await client.post(
        "/v1/chat/completions",
        [
          "messages": [["role": "user", "content": "hi"]], "max_tokens": 20, "response_format": ["type": "json_object"],
        ])
      #expect(object.json["choices"]?.array?.first?["message"]?["content"]?.string?.hasPrefix("{") == true)
      let plain = try await client.post(
        "/v1/completions", ["prompt": "abc", "max_tokens": 50, "regex": "[ab]{3}", "response_format": ["type": "text"]])
      #expect(plain.json["choices"]?.array?.first?["text"]?.string?.wholeMatch(of: /[ab]{3}/) != nil)
    }
  }

  @Test func malformedGrammarsGetASentence() async throws {
    try await withTinyServer { client, _ in
      for (parameters, words) in [
        (["json_schema": "{"], "invalid JSON"), (["json_schema": #"{"not":{}}"#], "keyword not"),
        (["regex": "("], "'(' without"),
        (["ebnf": "root ::= x"], "x is not defined"),
      ] as [(JSONValue, String)] {
        let answer = try await client.generate(["text": "a", "sampling_params": parameters])
        #expect(answer.status == 400 && answer.message.contains(words), "\(answer.body)")
      }
      let chat = try await client.post(
        "/v1/chat/completions",
        [
          "messages": [["role": "user", "content": "hi"]],
          "response_format": ["type": "json_schema", "json_schema": ["schema": ["type": "nonsense"]]],
        ])
      #expect(chat.status == 400 && chat.message.contains("nonsense") && chat.json["object"] == "error")
    }
  }
}
