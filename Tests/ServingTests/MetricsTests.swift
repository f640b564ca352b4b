import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing

/// The samples of a text in Prometheus' format. Fails on a line that is none.
func samples(_ text: String) -> [String: Double] {
  var result: [String: Double] = [:]
  let line = #/([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\]|\\.)*",?)*\})? (\S+)/#
  for text in text.split(separator: "\n") where !text.hasPrefix("#") {
    guard let match = text.wholeMatch(of: line), let value = Double(match.3) else {
      Issue.record("no sample: \(text)")
      continue
    }
    result[String(match.1 + (match.2 ?? ""))] = value
  }
  return result
}

@Suite struct MetricsTests {
  @Test func countWhatWasServed() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(2))
    try await withClient(engine, ServerConfiguration(servedModelName: #"a"b"#)) { (client) async throws -> Void in
      _ = try await client.generate(["input_ids": [1, 2, 3], "sampling_params": ["max_new_tokens": 5]])
      _ = try await client.generate(["input_ids": [1], "stream": true, "sampling_params": ["max_new_tokens": 3]])
      _ = try await client.generate(["input_ids": [13]])
      _ = try await client.get("/made/up/by/somebody")
      let answer = try await client.get("/metrics")
      #expect(answer.contentType == "text/plain; version=0.0.4; charset=utf-8")
      let found = samples(answer.body)
      let labels = #"model_name="a\"b",engine_type="unified",tp_rank="0",pp_rank="0",dp_rank="0""#
      func value(_ name: String, _ own: String = "") -> Double? { found["sglang:\(name){\(labels)\(own)}"] }
      #expect(value("num_running_reqs") == 0 && value("max_total_num_tokens") == 8192 && value("num_used_tokens") == 192)
      #expect(value("kv_evictable_tokens") == 48 && value("evicted_tokens_total") == 7 && value("num_retractions_total") == 2)
      #expect(value("prompt_tokens_total") == 4 && value("generation_tokens_total") == 8)
      #expect(value("num_requests_total") == 3 && value("num_aborted_requests_total") == 1)
      #expect(value("e2e_request_latency_seconds_count") == 2 && value("e2e_request_latency_seconds_sum") == 0.5)
      #expect(value("inter_token_latency_seconds_count") == 6)
      #expect(value("generation_tokens_histogram_bucket", #",le="16""#) == 2)
      #expect(value("http_requests_total", #",endpoint="/generate",method="POST""#) == 3)
      #expect(value("http_responses_total", #",endpoint="/generate",status_code="400",method="POST""#) == 1)
      #expect(value("http_requests_total", #",endpoint="NotFound",method="GET""#) == 1)
    }
  }

  @Test func histogramsCountEveryValueOnce() {
    var random = SeededGenerator(state: 1)
    for _ in 0..<200 {
      let bounds = (0..<Int.random(in: 1...8, using: &random)).map { _ in Double.random(in: 0...10, using: &random) }.sorted()
      var histogram = Histogram(bounds: bounds)
      let values = (0..<50).map { _ in Double(Int.random(in: 0...24, using: &random)) / 2 }
      for value in values { histogram.observe(value) }
      var text = PrometheusText(prefix: "")
      text.histogram("h", "", histogram)
      let found = samples(text.text)
      for bound in bounds { #expect(found["h_bucket{le=\"\(bound)\"}"] == Double(values.count { $0 <= bound })) }
      #expect(found["h_bucket{le=\"+Inf\"}"] == 50 && found["h_count"] == 50 && found["h_sum"] == values.reduce(0, +))
    }
  }

  @Test func loads() async throws {
    try await withClient { (client) async throws -> Void in
      #expect(try await client.get("/v1/loads?dp_rank=1").json["loads"] == [])
      let load = try await client.get("/v1/loads?dp_rank=0&include=core,queues").json["loads"]?.array?.first
      #expect(load?["queues"] == ["waiting": 0] && load?["memory"] == nil && load?["gen_throughput"] == 0.0)
      let text = try await client.get("/v1/loads?format=prometheus")
      #expect(samples(text.body)[#"sglang:num_used_tokens{dp_rank="0"}"#] == 192)
      for query in ["dp_rank=x", "include=everything", "format=xml"] {
        #expect(try await client.get("/v1/loads?" + query).status == 400)
      }
    }
  }
}
