import Inference
import JSON
import Serving
import Testing

@Suite struct OpenAITests {
  @Test func completions() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { client in
      let answer = try await client.post(
        "/v1/completions",
        [
          "model": "m", "prompt": ["ab", "cd"], "n": 2, "max_tokens": 2, "logprobs": 1, "echo": true, "seed": 3, "stop": "zz",
          "priority": 2, "cache_salt": "s",
        ])
      let json = answer.json
      #expect(answer.status == 200 && json["object"] == "text_completion" && json["model"] == "m")
      let choices = json["choices"]!.array!
      #expect(choices.map { $0["index"]! } == [0, 1, 2, 3])
      #expect(choices.map { $0["text"]! } == ["abtok0 tok1 ", "abtok0 tok1 ", "cdtok0 tok1 ", "cdtok0 tok1 "])
      #expect(choices[0]["finish_reason"] == "length" && choices[0]["matched_stop"] == .null)
      #expect(choices[0]["logprobs"]?["tokens"] == ["a", "b", "d", "e"])
      #expect(choices[0]["logprobs"]?["token_logprobs"] == [nil, -1.0, -0.5, -0.5])
      #expect(choices[0]["logprobs"]?["top_logprobs"] == [nil, ["A": -1.0], ["A": -1.0], ["A": -1.0]])
      #expect(json["usage"]?["prompt_tokens"] == 4 && json["usage"]?["completion_tokens"] == 8)
      let request = engine.snapshot.requests.values.first!
      #expect(request.sampling.stop == ["zz"] && request.logProbStart == 0)
      #expect(request.priority == 2 && request.cacheSalt == "s" && request.extraKey == nil)
      let plain = try await client.post("/v1/completions", ["prompt": [1, 2]])
      #expect(plain.json["usage"]?["completion_tokens"] == 16 && plain.json["choices"]?.array?[0]["logprobs"] == .null)
      #expect(plain.json["model"] == "models/m0")
    }
  }

  @Test func completionStreamsCarryOnlyWhatIsNew() async throws {
    try await withClient { client in
      let answer = try await client.post(
        "/v1/completions",
        [
          "prompt": "ab", "max_tokens": 3, "stream": true, "stream_options": ["include_usage": true], "logprobs": 0,
          "echo": true, "stop_token_ids": [101],
        ])
      let choices = answer.events.compactMap { $0["choices"]?.array?.first }
      #expect(choices.map { $0["text"]! } == ["abtok0 ", "tok1 "])
      #expect(choices.map { $0["logprobs"]!["tokens"]! } == [["a", "b", "d"], ["e"]])
      #expect(choices.map { $0["finish_reason"]! } == [nil, "stop"] && choices[1]["matched_stop"] == 101)
      #expect(answer.events.last?["choices"] == [] && answer.events.last?["usage"]?["total_tokens"] == 4)
    }
  }

  @Test func chat() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { client in
      let answer = try await client.post(
        "/v1/chat/completions",
        [
          "messages": [
            ["role": "user", "content": [["type": "text", "text": "h"], ["type": "text", "text": "i"]]]
          ], "max_completion_tokens": 2, "logprobs": true, "top_logprobs": 1, "tools": [["function": ["name": "f"]]], "rid": "c",
          "chat_template_kwargs": ["enable_thinking": false], "return_token_ids": true,
        ])
      #expect(answer.json["object"] == "chat.completion" && answer.json["id"] == "c")
      let choice = answer.json["choices"]!.array![0]
      #expect(choice["message"] == ["role": "assistant", "content": "tok0 tok1 ", "reasoning_content": nil])
      let first: JSONValue = [
        "token": "d", "bytes": [100], "logprob": -0.5, "top_logprobs": [["token": "A", "bytes": [65], "logprob": -1.0]],
      ]
      #expect(choice["logprobs"]?["content"]?.array?.first == first && choice["response_token_ids"] == [100, 101])
      #expect(ByteEncoder().decode(engine.snapshot.requests["c"]!.tokens) == "tools:1;user:hi;enable_thinking=false;assistant:")
      #expect(engine.snapshot.requests["c"]!.sampling.maxNewTokens == 2)
      for (field, end) in [("continue_final_message", "…"), ("add_generation_prompt", "assistant:")] {
        let ends = try await client.post(
          "/v1/chat/completions",
          ["messages": [["role": "user", "content": "a"]], field: true, "max_tokens": 1, "rid": .string(field)])
        #expect(ends.status == 200)
        #expect(ByteEncoder().decode(engine.snapshot.requests[field]!.tokens) == "user:a;" + end)
      }
      let given = try await client.post("/v1/chat/completions", ["input_ids": [1, 2], "max_tokens": 1])
      #expect(given.json["usage"]?["prompt_tokens"] == 2)
    }
  }

  @Test func chatStreams() async throws {
    try await withClient { client in
      let answer = try await client.post(
        "/v1/chat/completions",
        ["messages": [["role": "user", "content": "hi"]], "max_tokens": 2, "n": 2, "stream": true])
      #expect(answer.events.allSatisfy { $0["object"] == "chat.completion.chunk" })
      for index in 0..<2 {
        let own = answer.events.compactMap { $0["choices"]?.array?.first }.filter { $0["index"]?.int == index }
        #expect(own.first?["delta"] == ["role": "assistant", "content": ""])
        #expect(own.dropFirst().map { $0["delta"]!["content"]!.string! }.joined() == "tok0 tok1 ")
        #expect(own.last?["finish_reason"] == "length")
      }
    }
  }

  static let malformed: [(String, String, String)] = [
    ("completions", "{", "invalid JSON"), ("completions", "{}", "prompt is needed"),
    ("completions", #"{"prompt":""}"#, "cannot be empty"), ("completions", #"{"prompt":[]}"#, "cannot be empty"),
    ("completions", #"{"prompt":{}}"#, "prompt must be"), ("completions", #"{"prompt":"a","n":0}"#, "n must be"),
    ("completions", #"{"prompt":"a","max_tokens":"x"}"#, "max_new_tokens must be"),
    ("completions", #"{"prompt":"a","temperature":-1}"#, "temperature"),
    ("completions", #"{"prompt":"a","logprobs":-1}"#, "top_logprobs"),
    ("completions", #"{"prompt":"a","nonsense":1}"#, "unknown field nonsense"),
    ("completions", #"{"prompt":[999]}"#, "token id 999"),
    ("completions", #"{"prompt":"a","max_tokens":5000}"#, "context length"),
    ("completions", #"{"prompt":"a","response_format":{"type":"structural_tag"}}"#, "not supported"),
    ("completions", #"{"prompt":"a","response_format":{"type":"json_schema"}}"#, "needs an object json_schema"),
    ("completions", #"{"prompt":"a","response_format":{"type":"json_object"},"regex":"a"}"#, "Only one of"),
    ("completions", #"{"prompt":"a","ebnf":"x","regex":"a"}"#, "Only one of"),
    ("chat/completions", #"{"messages":[]}"#, "messages cannot be empty"), ("chat/completions", #"{"messages":["a"]}"#, "role"),
    ("chat/completions", #"{"messages":[{"role":"robot","content":"a"}]}"#, "unknown role robot"),
    ("chat/completions", #"{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, "image_url must be"),
    ("chat/completions", #"{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}"#, "text and image_url only"),
    ("chat/completions", #"{"messages":[{"role":"user","content":"a"}],"top_logprobs":1}"#, "top_logprobs needs"),
    ("chat/completions", #"{"messages":[{"role":"user","content":"a"}],"tools":5}"#, "tools must be"),
  ]

  @Test func malformedRequestsGetASentence() async throws {
    try await withClient { client in
      for (route, body, words) in Self.malformed {
        let answer = try await client.send(.post, "/v1/" + route, body)
        #expect(answer.status == 400 && answer.json["object"] == "error", "\(body) → \(answer.status) \(answer.body)")
        #expect(answer.message.contains(words), "\(body) → \(answer.message)")
      }
    }
  }
}
