import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing

/// Routes and settings beside generation.
@Suite struct SurfaceTests {
  @Test func tokenizerRoutes() async throws {
    try await withClient { (client) async throws -> Void in
      for prefix in ["", "/v1"] {
        let one = try await client.post(prefix + "/tokenize", ["prompt": "ab"])
        #expect(one.json == ["tokens": [1, 97, 98], "count": 3, "max_model_len": 2048])
        let several = try await client.post(prefix + "/tokenize", ["prompt": ["a", ""], "add_special_tokens": false])
        #expect(several.json["tokens"] == [[97], []] && several.json["count"] == [1, 0])
        #expect(try await client.post(prefix + "/detokenize", ["tokens": [1, 97, 98]]).json == ["text": "ab"])
        let special = try await client.post(prefix + "/detokenize", ["tokens": [[1, 97], [98]], "skip_special_tokens": false])
        #expect(special.json == ["text": ["\u{1}a", "b"]])
      }
      for (path, body) in [
        ("tokenize", [:]), ("tokenize", ["prompt": 5]), ("detokenize", ["tokens": ["a"]]), ("detokenize", ["tokens": [384]]),
        ("detokenize", ["tokens": [[1], [-1]]]), ("tokenize", ["prompt": "a", "x": 1]),
      ] as [(String, JSONValue)] {
        let refused = try await client.post("/" + path, body)
        #expect(refused.status == 400 && !refused.message.isEmpty, "\(path) \(body) → \(refused.body)")
      }
    }
  }

  @Test func serverInfoHasWhatClientsReadByName() async throws {
    var configuration = ServerConfiguration()
    (configuration.toolCallParser, configuration.reasoningParser) = (.llama3, .deepseekR1)
    configuration.arguments = ["tokenizer_path": "t"]
    try await withClient(FakeEngine(), configuration) { (client) async throws -> Void in
      let info = try await client.get("/server_info").json
      for key in ["tp_size", "pp_size", "dp_size", "ep_size", "nnodes"] { #expect(info[key] == 1) }
      #expect(info["disaggregation_mode"] == "null" && info["model_path"] == "models/m0" && info["tokenizer_path"] == "t")
      #expect(info["served_model_name"] == "models/m0" && info["max_total_num_tokens"] == 8192)
      #expect(info["internal_states"]?.array?.first?["token_capacity"] == 8192)
      let model = try await client.get("/model_info").json
      #expect(model["tool_call_parser"] == "llama3" && model["reasoning_parser"] == "deepseek-r1" && model["tokenizer_path"] == "t")
    }
  }

  /// The parts of an incremental stream are the whole.
  @Test func incrementalStreamsAddUpToTheWhole() async throws {
    var configuration = ServerConfiguration()
    configuration.incrementalStreamingOutput = true
    try await withClient(FakeEngine(), configuration) { (client) async throws -> Void in
      for interval in [1, 3] {
        var body: JSONObject = [
          "input_ids": [[1, 2], [3]], "return_logprob": true, "logprob_start_len": 0, "top_logprobs_num": 1,
          "sampling_params": ["max_new_tokens": 8, "stream_interval": .int(interval)],
        ]
        let whole = try await client.generate(.object(body)).json.array!
        body["stream"] = true
        let events = try await client.generate(.object(body)).events
        for index in 0..<2 {
          let own = events.filter { $0["index"]?.int == index }
          #expect(own.map { $0["text"]!.string! }.joined() == whole[index]["text"]?.string && own.count >= 8 / interval)
          func joined(_ key: String, _ meta: Bool) -> [JSONValue] {
            own.flatMap { (meta ? $0["meta_info"]?[key] : $0[key])!.array! }
          }
          #expect(joined("output_ids", false) == whole[index]["output_ids"]!.array!)
          for key in ["input_token_logprobs", "output_token_logprobs", "input_top_logprobs", "output_top_logprobs"] {
            #expect(joined(key, true) == whole[index]["meta_info"]![key]!.array!)
          }
          #expect(own.last!["meta_info"]!["completion_tokens"] == 8)
        }
      }
    }
  }

  @Test func profilesAreTracesOfRequests() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try await withClient { (client) async throws -> Void in
      #expect(try await client.post("/stop_profile", [:]).status == 400)
      #expect(try await client.post("/start_profile", ["num_steps": 3]).status == 400)
      let start: JSONValue = ["output_dir": .string(folder.path), "profile_id": "p", "activities": ["CPU"], "num_steps": nil]
      #expect(try await client.post("/start_profile", start).status == 200)
      #expect(try await client.post("/start_profile", start).status == 400)
      _ = try await client.generate(["input_ids": [1, 2], "rid": "a", "sampling_params": ["max_new_tokens": 4]])
      _ = try await client.generate(["input_ids": [1], "rid": "b", "stream": true, "sampling_params": ["max_new_tokens": 2]])
      let stopped = try await client.send(.post, "/stop_profile")
      #expect(stopped.status == 200 && stopped.body.contains("p.trace.json"))
      let trace = try JSONValue(parsing: Data(contentsOf: folder.appendingPathComponent("p.trace.json")))
      let spans = trace["traceEvents"]!.array!.filter { $0["ph"] == "X" }
      let (a, b) = (spans.first { $0["name"] == "a" }, spans.first { $0["name"] == "b" })
      #expect(a?["args"]?["output_tokens"] == 4 && b?["args"]?["prompt_tokens"] == 1 && spans.count == 6)
      #expect(b!["ts"]!.double! >= a!["ts"]!.double! + a!["dur"]!.double!)
      #expect(trace["traceEvents"]!.array!.contains { $0["ph"] == "C" && $0["args"]?["running"] != nil })
    }
  }
}
