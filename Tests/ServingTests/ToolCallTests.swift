import Inference
import JSON
import Serving
import TestSupport
import Testing

/// What a stream's deltas say together, by choice.
struct Told {
  var (content, reasoning) = ("", "")
  var calls: [(id: String, name: String, arguments: String)] = []
  var finish: JSONValue?

  init(_ events: [JSONValue], choice: Int = 0) {
    for part in events.compactMap({ $0["choices"]?.array?.first }) where part["index"]?.int == choice {
      content += part["delta"]?["content"]?.string ?? ""
      reasoning += part["delta"]?["reasoning_content"]?.string ?? ""
      for call in part["delta"]?["tool_calls"]?.array ?? [] {
        if let id = call["id"]?.string { calls.append((id, call["function"]!["name"]!.string!, "")) }
        #expect(call["index"]?.int == calls.count - 1)
        calls[calls.count - 1].arguments += call["function"]?["arguments"]?.string ?? ""
      }
      finish = part["finish_reason"]
    }
  }
}

@Suite struct ToolCallTests {
  private static let functions: Set<String> = ["get_weather", "get_time"]
  private static let paris = ToolCall(name: "get_weather", arguments: #"{"city": "P\"a}r[is", "days": [1, {"a": null}]}"#)
  private static let time = ToolCall(name: "get_time", arguments: "{}")

  /// Texts, and what is in them.
  private static let texts: [(ToolCallFormat, String, ParsedText)] = [
    (.qwen25, "Hi <tool>", ParsedText(content: "Hi <tool>")), (.llama3, "", ParsedText()), (.hermes, " ", ParsedText(content: " ")),
    (
      .qwen25,
      "Let me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": \(paris.arguments)}\n</tool_call>\n"
        + "<tool_call>\n{\"name\": \"get_time\", \"arguments\": {}}\n</tool_call>",
      ParsedText(content: "Let me see.", calls: [paris, time])
    ),
    (
      .hermes, "<tool_call>{\"arguments\": \(paris.arguments), \"name\": \"get_weather\"}</tool_call> Done.",
      ParsedText(content: "Done.", calls: [paris])
    ),
    (
      .hermes, #"<tool_call>{"name": "rm", "arguments": {}}</tool_call>"#,
      ParsedText(content: #"<tool_call>{"name": "rm", "arguments": {}}</tool_call>"#)
    ),
    (.hermes, "a <tool_call> b", ParsedText(content: "a <tool_call> b")),
    (.qwen, #"<tool_call>{"name": "get_time"}</tool_call>"#, ParsedText(calls: [time])),
    (
      .qwen, #"<tool_call>{"name": "get_weather", "arguments": "{\"city\": \"Rome\"}"}"#,
      ParsedText(calls: [ToolCall(name: "get_weather", arguments: #"{"city": "Rome"}"#)])
    ),
    (
      .qwen, #"<tool_call>{"name": "get_weather", "arguments": {"city": "Ro"#,
      ParsedText(calls: [ToolCall(name: "get_weather", arguments: #"{"city": "Ro"#)])
    ),
    (
      .llama3, "{\"name\": \"get_weather\", \"parameters\": \(paris.arguments)}; {\"name\": \"get_time\", \"parameters\": {}}",
      ParsedText(calls: [paris, time])
    ),
    (
      .llama3, "<|python_tag|>{\"type\": \"function\", \"name\": \"get_weather\", \"parameters\": \(paris.arguments)}",
      ParsedText(calls: [paris])
    ),
    (.llama3, #"{"answer": 42} <|py"#, ParsedText(content: #"{"answer": 42} <|py"#)),
    (
      .mistral,
      "So [1]: [TOOL_CALLS] [{\"name\": \"get_weather\", \"arguments\": \(paris.arguments)}, {\"name\": \"get_time\"}]",
      ParsedText(content: "So [1]:", calls: [paris, time])
    ),
    (
      .deepseekv3,
      "Ok.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n\(paris.arguments)\n```"
        + "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n```json\n{}\n```<｜tool▁call▁end｜>"
        + "<｜tool▁calls▁end｜>",
      ParsedText(content: "Ok.", calls: [paris, time])
    ),
  ]

  @Test func callsAreFoundAndStreamsNeverTakeAnythingBack() {
    for (format, text, expected) in Self.texts {
      let parser = ToolCallParser(grammar: format.grammar, functions: Self.functions)
      let whole = parser.parse(text, isFinal: true)
      #expect(whole == expected, "\(format): \(text)")
      var last = ParsedText()
      for count in 0...text.unicodeScalars.count {
        let part = parser.parse(String(String.UnicodeScalarView(text.unicodeScalars.prefix(count))), isFinal: false)
        expectGrowth(from: last, to: part, text)
        last = part
      }
      expectGrowth(from: last, to: whole, text)
    }
  }

  /// Texts made of the formats' pieces at random: nothing crashes, and nothing is taken back.
  @Test func noiseIsReadAlikeInPiecesAndAtOnce() {
    let pieces = [
      "<tool_call>", "</tool_call>", "{", "}", #""name""#, ":", #""get_time""#, #""arguments""#, ",", " ", "\n", "[", "]", "x", ";",
      "[TOOL_CALLS]", "<|python_tag|>", #"{"name": "get_time", "arguments": {"#, #""\""#, "<｜tool▁calls▁begin｜>", "\\", "```json",
      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>get_time\n", "é", "<tool",
    ]
    var random = SeededGenerator(state: 5)
    for format in ToolCallFormat.allCases {
      let parser = ToolCallParser(grammar: format.grammar, functions: Self.functions)
      for _ in 0..<400 {
        var (text, last) = ("", ParsedText())
        for _ in 0..<Int.random(in: 1...14, using: &random) {
          text += pieces.randomElement(using: &random)!
          let part = parser.parse(text, isFinal: false)
          expectGrowth(from: last, to: part, text)
          last = part
        }
        expectGrowth(from: last, to: parser.parse(text, isFinal: true), text)
      }
    }
  }

  private func expectGrowth(from a: ParsedText, to b: ParsedText, _ text: String) {
    #expect(b.content.utf8.starts(with: a.content.utf8) && b.calls.count >= a.calls.count, "\(text): \(a) → \(b)")
    for (old, new) in zip(a.calls, b.calls) {
      #expect(new.name == old.name && new.arguments.utf8.starts(with: old.arguments.utf8), "\(text): \(a) → \(b)")
    }
  }

  @Test func thoughtsAreSplitOff() {
    let cases: [(String, begins: Bool, thoughts: String, answer: String)] = [
      ("<think>\nab c\n</think>\n\nyes </think> no", false, "ab c", "yes </think> no"), ("ab</think>yes", true, "ab", "yes"),
      ("ab</think>yes", false, "", "ab</think>yes"), ("ab </thin", true, "ab </thin", ""), ("<thin", false, "", "<thin"),
      ("<think></think>x", true, "", "x"), ("", true, "", ""), (" a", false, "", " a"), ("<think>é", false, "é", ""),
    ]
    for (text, begins, thoughts, answer) in cases {
      #expect(ReasoningFormat.split(text, begins: begins, isFinal: true) == (thoughts, answer), "\(text)")
      var last = ("", "")
      for count in 0...text.unicodeScalars.count {
        let isFinal = count == text.unicodeScalars.count
        let part = ReasoningFormat.split(
          String(String.UnicodeScalarView(text.unicodeScalars.prefix(count))), begins: begins, isFinal: isFinal)
        #expect(part.thoughts.hasPrefix(last.0) && part.answer.hasPrefix(last.1), "\(text): \(last) → \(part)")
        last = part
      }
    }
    #expect(ReasoningFormat.deepseekR1.beginsWithThoughts(after: "assistant"))
    #expect(!ReasoningFormat.deepseekR1.beginsWithThoughts(after: "<think>\n\n</think>\n\n"))
    #expect(ReasoningFormat.qwen3.beginsWithThoughts(after: "assistant\n<think>\n"))
    #expect(!ReasoningFormat.qwen3.beginsWithThoughts(after: "assistant\n"))
  }

  private static let tools: JSONValue = [
    ["type": "function", "function": ["name": "get_weather", "parameters": ["type": "object"]]],
    ["type": "function", "function": ["name": "get_time"]],
  ]

  @Test func chatCarriesThoughtsAndCalls() async throws {
    let text = "<think>Which city?</think>One moment. <tool_call>{\"name\": \"get_weather\", \"arguments\": \(Self.paris.arguments)}</tool_call>"
    var configuration = ServerConfiguration()
    (configuration.toolCallParser, configuration.reasoningParser) = (.qwen25, .qwen3)
    let engine = FakeEngine(words: text.map(String.init))
    try await withClient(engine, configuration) { (client) async throws -> Void in
      var body: JSONObject = [
        "messages": [["role": "user", "content": "hi"]], "tools": Self.tools, "max_tokens": 1000, "stop_token_ids": [.int(99 + text.count)],
      ]
      let choice = try await client.post("/v1/chat/completions", .object(body)).json["choices"]?.array?.first
      #expect(choice?["finish_reason"] == "tool_calls" && choice?["message"]?["reasoning_content"] == "Which city?")
      #expect(choice?["message"]?["content"] == "One moment.")
      let call = choice?["message"]?["tool_calls"]?.array?.first
      #expect(call?["function"] == ["name": "get_weather", "arguments": .string(Self.paris.arguments)])
      #expect(call?["id"]?.string?.hasPrefix("call_") == true)
      body["stream"] = true
      let events = try await client.post("/v1/chat/completions", .object(body)).events
      let told = Told(events)
      #expect(told.content == "One moment." && told.reasoning == "Which city?" && told.finish == "tool_calls")
      #expect(told.calls.map(\.name) == ["get_weather"] && told.calls[0].arguments == Self.paris.arguments)
      #expect(events.count > 30)
      (body["tool_choice"], body["separate_reasoning"]) = ("none", false)
      let plain = Told(try await client.post("/v1/chat/completions", .object(body)).events)
      #expect(plain.content == text && plain.finish == "stop" && plain.calls.isEmpty)
      #expect(engine.snapshot.requests.values.contains { !$0.sampling.skipSpecialTokens })
    }
  }

  @Test func requiredCallsBindTheResponse() async throws {
    let text = #"[{"name":"get_time","parameters":{}},{"name":"get_weather","parameters":{"a":1}}]"#
    let engine = FakeEngine(words: [text])
    try await withClient(engine) { (client) async throws -> Void in
      func ask(_ more: JSONObject) async throws -> Answer {
        var body: JSONObject = [
          "messages": [["role": "user", "content": "hi"]], "tools": Self.tools, "max_tokens": 10, "stop_token_ids": [100],
        ]
        for (key, value) in more.pairs { body[key] = value }
        return try await client.post("/v1/chat/completions", .object(body))
      }
      let all = try await ask(["tool_choice": "required", "rid": "all"]).json["choices"]?.array?.first
      #expect(all?["message"]?["tool_calls"]?.array?.map { $0["function"]?["name"]?.string } == ["get_time", "get_weather"])
      #expect(all?["finish_reason"] == "tool_calls")
      let schema = try JSONValue(parsing: engine.snapshot.requests["all"]!.sampling.jsonSchema!)
      #expect(schema["items"]?["anyOf"]?.array?.count == 2 && schema["maxItems"] == nil)
      let one = try await ask(["tool_choice": "required", "parallel_tool_calls": false, "rid": "one"])
      #expect(one.json["choices"]?.array?.first?["message"]?["tool_calls"]?.array?.count == 1)
      _ = try await ask(["tool_choice": ["type": "function", "function": ["name": "get_time"]], "rid": "named"])
      let named = try JSONValue(parsing: engine.snapshot.requests["named"]!.sampling.jsonSchema!)
      #expect(named["maxItems"] == 1 && named["items"]?["properties"]?["name"] == ["enum": ["get_time"]])
      for (more, words) in [
        (["tool_choice": "any"], "tool_choice must be"), (["tool_choice": "required", "regex": "a"], "give one of them"),
        (["tool_choice": ["type": "function", "function": ["name": "f"]]], "not among the tools"),
        (["tools": [], "tool_choice": "required"], "needs tools"), (["tools": [["type": "function"]]], "has a name"),
      ] as [(JSONObject, String)] {
        let refused = try await ask(more)
        #expect(refused.status == 400 && refused.message.contains(words), "\(refused.body)")
      }
    }
  }

  /// As objects, which templates expect, and with content where there is none.
  @Test func callsInMessagesReachTheTemplate() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { (client) async throws -> Void in
      let call: JSONValue = ["id": "c", "function": ["name": "f", "arguments": #"{"a": 1}"#]]
      let answer = try await client.post(
        "/v1/chat/completions",
        ["messages": [["role": "assistant", "content": nil, "tool_calls": [call]]], "max_tokens": 1, "rid": "r"])
      #expect(answer.status == 200)
      let prompt = ByteEncoder().decode(engine.snapshot.requests["r"]!.tokens)
      #expect(prompt == #"assistant:;{"name":"f","arguments":{"a":1}};assistant:"#)
    }
  }

  @Test func definitionsOfParametersAreMovedToTheSchemasTop() async throws {
    let engine = FakeEngine(words: ["[]"])
    try await withClient(engine) { (client) async throws -> Void in
      func ask(_ definitions: [JSONValue]) async throws -> Answer {
        let tools = definitions.enumerated().map { index, definition -> JSONValue in
          [
            "function": [
              "name": .string("f\(index)"),
              "parameters": ["type": "object", "$defs": ["c": definition], "properties": ["x": ["$ref": "#/$defs/c"]]],
            ]
          ]
        }
        return try await client.post(
          "/v1/chat/completions",
          [
            "messages": [["role": "user", "content": "a"]], "tools": .array(tools), "tool_choice": "required", "max_tokens": 1,
            "rid": .string("r\(definitions.count)"),
          ])
      }
      #expect(try await ask([["type": "string"]]).status == 200)
      let schema = try JSONValue(parsing: engine.snapshot.requests["r1"]!.sampling.jsonSchema!)
      #expect(schema["$defs"] == ["c": ["type": "string"]])
      #expect(schema["items"]?["properties"]?["parameters"] == ["type": "object", "properties": ["x": ["$ref": "#/$defs/c"]]])
      #expect(try await ask([["type": "string"], ["type": "null"]]).message.contains("two different $defs"))
    }
  }
}
