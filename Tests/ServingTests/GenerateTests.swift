import Inference
import JSON
import Serving
import Testing

@Suite struct GenerateTests {
  @Test func answersOnePrompt() async throws {
    let answer = try await withClient { client in
      try await client.generate([
        "input_ids": [1, 2, 3], "rid": "mine", "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 2,
        "token_ids_logprob": [7], "return_text_in_logprobs": true, "return_prompt_token_ids": true,
        "sampling_params": ["max_new_tokens": 2],
      ])
    }
    #expect(answer.status == 200)
    let (json, meta) = (answer.json, answer.json["meta_info"]!)
    #expect(json["text"] == "tok0 tok1 " && json["output_ids"] == [100, 101] && json["prompt_token_ids"] == [1, 2, 3])
    #expect(meta["id"] == "mine" && meta["finish_reason"] == ["type": "length", "length": 2])
    #expect(meta["prompt_tokens"] == 3 && meta["completion_tokens"] == 2 && meta["e2e_latency"] == 0.25)
    #expect(meta["input_token_logprobs"] == [[nil, 1, "\u{1}"], [-1.0, 2, "\u{2}"], [-1.0, 3, "\u{3}"]])
    #expect(meta["output_token_logprobs"] == [[-0.5, 100, "d"], [-0.5, 101, "e"]])
    #expect(meta["output_token_logprobs_length"] == 2)
    #expect(meta["input_top_logprobs"]?.array?.first == .null)
    #expect(meta["output_top_logprobs"]?.array?.first == [[-1.0, 65, "A"], [-2.0, 66, "B"]])
    #expect(meta["output_token_ids_logprobs"] == [[[-3.0, 7, "\u{7}"]], [[-3.0, 7, "\u{7}"]]])
    #expect(meta["weight_versions"] == [["version": "default", "start": 0, "end": 2]])
  }

  @Test func finishReasons() async throws {
    try await withClient { client in
      let token = try await client.generate(["text": "a", "sampling_params": ["stop_token_ids": [101]]])
      #expect(token.json["meta_info"]?["finish_reason"] == ["type": "stop", "matched": 101])
      let string = try await client.generate(["text": "a", "sampling_params": ["stop": "tok2"]])
      #expect(string.json["meta_info"]?["finish_reason"] == ["type": "stop", "matched": "tok2"])
      let none = try await client.send(.put, "/generate", #"{"text":"a","sampling_params":{"max_new_tokens":0}}"#)
      #expect(none.json["output_ids"] == [] && none.json["meta_info"]?["finish_reason"] == ["type": "length", "length": 0])
    }
  }

  @Test func batchesKeepOrderAndPerPromptFields() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { client in
      let answer = try await client.generate([
        "text": ["ab", "cde"], "rid": "x", "sampling_params": [["max_new_tokens": 1], ["max_new_tokens": 3]],
        "return_logprob": [true, false], "logprob_start_len": [1, -1], "token_ids_logprob": [[1], [2, 3]], "priority": [4, -4],
        "extra_key": "k", "cache_salt": ["s", "t"],
      ])
      let answers = answer.json.array!
      #expect(answers.map { $0["meta_info"]!["id"]! } == ["x_0", "x_1"])
      #expect(answers.map { $0["meta_info"]!["completion_tokens"]! } == [1, 3])
      #expect(answers[0]["meta_info"]?["input_token_logprobs"] == [[-1.0, 98, nil]])
      #expect(answers[1]["meta_info"]?["output_token_logprobs"] == nil)
      let second = try #require(engine.snapshot.requests["x_1"])
      #expect(second.tokenIDsLogProb == [2, 3] && second.priority == -4)
      #expect(second.extraKey == "k" && second.cacheSalt == "t")
      let listed = try await client.generate(["input_ids": [[1], [2]], "rid": ["a", "b"], "sampling_params": ["n": 2]])
      #expect(listed.json.array?.map { $0["meta_info"]!["id"]! } == ["a_0", "a_1", "b_0", "b_1"])
      let samples = try await client.generate(["input_ids": [5], "sampling_params": ["n": 3, "sampling_seed": 7]])
      #expect(samples.json.array?.count == 3)
      #expect(Set(engine.snapshot.requests.values.compactMap(\.sampling.samplingSeed)) == [7, 8, 9])
      #expect(try await client.generate(["input_ids": [[5]]]).json.array?.count == 1)
    }
  }

  @Test func streamsAreCumulative() async throws {
    try await withClient { client in
      let answer = try await client.generate([
        "input_ids": [1], "stream": true, "return_logprob": true, "sampling_params": ["max_new_tokens": 3],
      ])
      #expect(answer.contentType == "text/event-stream; charset=utf-8")
      #expect(answer.events.map { $0["output_ids"]! } == [[100], [100, 101], [100, 101, 102]])
      #expect(answer.events.map { $0["meta_info"]!["output_token_logprobs"]!.array!.count } == [1, 2, 3])
      #expect(answer.events.map { $0["meta_info"]!["finish_reason"]!.isNull } == [true, true, false])
      #expect(answer.events[0]["index"] == nil)
      let thin = try await client.generate([
        "input_ids": [1], "stream": true, "sampling_params": ["max_new_tokens": 7, "stream_interval": 3],
      ])
      #expect(thin.events.map { $0["output_ids"]!.array!.count } == [1, 4, 7])
      let batch = try await client.generate([
        "input_ids": [[1], [2, 3]], "stream": true, "sampling_params": ["max_new_tokens": 2],
      ])
      for index in 0..<2 {
        let own = batch.events.filter { $0["index"]!.int == index }
        #expect(own.map { $0["output_ids"]! } == [[100], [100, 101]])
        #expect(own.allSatisfy { $0["meta_info"]!["prompt_tokens"]!.int == index + 1 })
      }
    }
  }

  @Test func errorsOfTheEngine() async throws {
    try await withClient { client in
      let refused = try await client.generate(["input_ids": [13]])
      #expect(refused.status == 400 && refused.message == "Thirteen is refused.")
      #expect(try await client.generate(["input_ids": [14]]).status == 500)
      let streamed = try await client.generate(["input_ids": [13], "stream": true])
      #expect(streamed.events.map { $0["error"]?["code"] } == [400])
      #expect(try await client.generate(["input_ids": [[1], [14]]]).status == 500)
      #expect(try await client.get("/health").status == 200)
    }
  }

  static let malformed: [(String, String)] = [
    ("", "invalid JSON"), ("{not json", "invalid JSON"), ("[]", "must be a JSON object"), ("{}", "text or input_ids is needed"),
    (#"{"text":"a","input_ids":[1]}"#, "Only one of"), (#"{"input_ids":[]}"#, "cannot be empty"),
    (#"{"input_ids":[[1],[]]}"#, "cannot be empty"), (#"{"text":""}"#, "cannot be empty"), (#"{"text":[]}"#, "cannot be empty"),
    (#"{"text":5}"#, "text must be a string"), (#"{"input_ids":"a"}"#, "input_ids must be"),
    (#"{"input_ids":[1.5]}"#, "input_ids must be"), (#"{"input_ids":[true]}"#, "input_ids must be"),
    (#"{"input_ids":[384]}"#, "token id 384"), (#"{"input_ids":[-1]}"#, "token id -1"),
    (#"{"text":"a","sampling_parms":{}}"#, "unknown field sampling_parms"),
    (#"{"text":"a","sampling_params":5}"#, "sampling_params must be an object"),
    (#"{"text":"a","sampling_params":{"foo":1}}"#, "unknown field sampling_params.foo"),
    (#"{"text":"a","sampling_params":{"temperature":-1}}"#, "temperature must be"),
    (#"{"text":"a","sampling_params":{"temperature":"hot"}}"#, "sampling_params.temperature must be a number"),
    (#"{"text":"a","sampling_params":{"temperature":NaN}}"#, "temperature must be"),
    (#"{"text":"a","sampling_params":{"top_p":0}}"#, "top_p"), (#"{"text":"a","sampling_params":{"top_p":2}}"#, "top_p"),
    (#"{"text":"a","sampling_params":{"top_k":0}}"#, "top_k"), (#"{"text":"a","sampling_params":{"top_k":2.5}}"#, "top_k"),
    (#"{"text":"a","sampling_params":{"min_p":1.1}}"#, "min_p"),
    (#"{"text":"a","sampling_params":{"frequency_penalty":3}}"#, "frequency_penalty"),
    (#"{"text":"a","sampling_params":{"presence_penalty":-3}}"#, "presence_penalty"),
    (#"{"text":"a","sampling_params":{"repetition_penalty":0}}"#, "repetition_penalty"),
    (#"{"text":"a","sampling_params":{"max_new_tokens":-1}}"#, "max_new_tokens"),
    (#"{"text":"a","sampling_params":{"max_new_tokens":9223372036854775807}}"#, "context length"),
    (#"{"text":"a","sampling_params":{"min_new_tokens":200}}"#, "min_new_tokens"),
    (#"{"text":"a","sampling_params":{"stop":[""]}}"#, "stop"), (#"{"text":"a","sampling_params":{"stop":[1]}}"#, "stop must be"),
    (#"{"text":"a","sampling_params":{"stop_token_ids":[400]}}"#, "stop_token_ids holds token id 400"),
    (#"{"text":"a","sampling_params":{"logit_bias":{"x":1}}}"#, "logit_bias"),
    (#"{"text":"a","sampling_params":{"logit_bias":{"400":1}}}"#, "logit_bias holds token id 400"),
    (#"{"text":"a","sampling_params":{"structural_tag":"{}"}}"#, "not supported"),
    (#"{"text":"a","sampling_params":{"json_schema":5}}"#, "json_schema must be a string"),
    (#"{"text":"a","sampling_params":{"regex":"a","ebnf":"root ::= \"a\""}}"#, "Only one of"),
    (#"{"text":"a","sampling_params":{"n":0}}"#, "n must be"), (#"{"text":"a","lora_path":"x"}"#, "--enable-lora"),
    (#"{"text":"a","lora_path":["x"]}"#, "lora_path must be an adapter's name"),
    (#"{"text":["a","b"],"lora_path":["x"]}"#, "lora_path has 1 elements"),
    (#"{"text":["a","b"],"lora_path":["x",5]}"#, "each element of lora_path must be"),
    (#"{"text":["a","b"],"sampling_params":[{},{"n":2}]}"#, "same for all"),
    (#"{"text":["a","b"],"sampling_params":[{}]}"#, "1 elements for 2 prompts"),
    (#"{"text":["a","b"],"rid":["x"]}"#, "rid has 1"), (#"{"text":["a","b"],"rid":["x","x"]}"#, "Duplicate request id"),
    (#"{"text":"a","rid":5}"#, "rid must be"), (#"{"text":"a","rid":""}"#, "rid"),
    (#"{"text":"a","return_logprob":1}"#, "return_logprob must be"),
    (#"{"text":"a","logprob_start_len":-2}"#, "logprob_start_len"),
    (#"{"text":"a","logprob_start_len":1}"#, "logprob_start_len"),
    (#"{"text":"a","top_logprobs_num":-1}"#, "top_logprobs_num"),
    (#"{"text":"a","token_ids_logprob":[1000]}"#, "token_ids_logprob"), (#"{"text":"a","stream":"yes"}"#, "stream must be"),
  ]

  @Test func malformedRequestsGetASentence() async throws {
    try await withClient { client in
      for (body, words) in Self.malformed {
        let answer = try await client.send(.post, "/generate", body)
        #expect(answer.status == 400 && answer.message.contains(words), "\(body) → \(answer.status) \(answer.body)")
      }
      #expect(try await client.generate(["text": "still up"]).status == 200)
    }
  }

  @Test func hugeBodiesAndMissingTokenizers() async throws {
    var small = ServerConfiguration()
    small.maxBodyBytes = 100
    try await withClient(FakeEngine(), small) { client in
      let answer = try await client.generate(["text": .string(String(repeating: "a", count: 200))])
      #expect(answer.status == 413 && answer.message.contains("100 bytes"))
      #expect(try await client.generate(["text": "a"]).status == 200)
    }
    try await withClient(tokenizer: nil) { (client) async throws -> Void in
      #expect(try await client.generate(["text": "a"]).message.contains("no tokenizer"))
      #expect(try await client.generate(["input_ids": [1]]).status == 200)
      #expect(try await client.post("/v1/completions", ["prompt": "a"]).status == 400)
    }
  }

  /// Responses of many tokens are written number by number; they must be the JSON that the values mean.
  @Test func longLogProbArraysReadBack() async throws {
    let answer = try await withClient { client in
      try await client.generate(["input_ids": [1], "return_logprob": true, "sampling_params": ["max_new_tokens": 2000]])
    }
    let logProbs = answer.json["meta_info"]?["output_token_logprobs"]?.array
    #expect(logProbs?.count == 2000 && logProbs?.last == [-0.5, 2099, nil])
  }
}
