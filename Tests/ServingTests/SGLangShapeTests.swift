import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing

/// Replays requests that a real SGLang server answered: same status code, and at least the keys that it answered with.
@Suite struct SGLangShapeTests {
  /// Keys of SGLang's answers that this server leaves out: features it does not have.
  static let absent: Set<String> = [
    "embedding", "disaggregation", "num_waiting_uncached_tokens", "num_active_tokens", "num_prealloc_ready_tokens",
    "gen_throughput", "cache_hit_rate", "total_prefill_uncached_tokens", "total_prefill_busy_us", "decode_moments", "version",
    "weight_gb", "kv_cache_gb", "graph_gb", "grammar", "paused", "retracted", "prealloc_ready",
  ]

  @Test func answersLikeSGLang() async throws {
    let lines = try String(contentsOf: fixture("Serving/sglang-shapes.jsonl"), encoding: .utf8).split(separator: "\n")
    #expect(lines.count > 40)
    let engine = FakeEngine()
    try await withClient(engine) { client in
      for line in lines {
        let exchange = try JSONValue(parsing: String(line))
        let (name, request) = (exchange["name"]!.string!, exchange["request"]!)
        // A pause would hold up the requests that follow; what comes after one in the recording is not in the fixture.
        try await engine.resume()
        let body = request["raw"]?.string ?? request["body"].flatMap { $0.isNull ? nil : $0.text() }
        let query = (request["params"]?.object?.pairs ?? []).map { "\($0.key)=\($0.value.text())" }.joined(separator: "&")
        let path = request["path"]!.string! + (query.isEmpty ? "" : "?" + query)
        let answer = try await client.send(Client.Method(rawValue: request["method"]!.string!)!, path, body)
        #expect(answer.status == exchange["status"]!.int, "\(name): \(answer.body)")
        if answer.status == 200 { Self.compare(answer.json, exchange["shape"]!, name) }
        if answer.status == 400 { #expect(answer.message.count > 10, "\(name): \(answer.body)") }
        if answer.status == 404 { #expect(answer.json == ["detail": "Not Found"]) }
      }
    }
  }

  private static func compare(_ ours: JSONValue, _ theirs: JSONValue, _ place: String) {
    switch theirs {
    case .object(let object):
      guard !ours.isNull else {
        #expect(place.hasSuffix("cached_tokens_details"), "\(place) is null")
        return
      }
      // Which tokens are likely, and which one ended the response, is the model's matter.
      if place.hasSuffix("logprobs.top_logprobs[0]") { return }
      for (key, value) in object.pairs where !absent.contains(key) {
        if place.hasSuffix("finish_reason") && key != "type" { continue }
        guard let own = ours[key] else {
          Issue.record("\(place).\(key) is missing")
          continue
        }
        compare(own, value, "\(place).\(key)")
      }
    case .array(let values):
      guard let own = ours.array else {
        Issue.record("\(place) is no array")
        return
      }
      if let value = values.first, let first = own.first { compare(first, value, place + "[0]") }
    default: break
    }
  }
}
