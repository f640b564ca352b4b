import Foundation
import JSON
import Rollout
import TestSupport
import Testing

@Suite struct RolloutMetricsTests {
  @Test func repetitionIsWhatZlibFinds() throws {
    let rows = try #require(JSONValue(parsing: Data(contentsOf: fixture("rollout/repetition.json"))).array)
    #expect(rows.count == 18)
    for row in rows {
      let unit = row["unit"]!.string!
      let text = String(repeatElement(unit, count: 12_000 / unit.unicodeScalars.count + 1).joined().unicodeScalars.prefix(12_000))
      let tail = Array(String(text.unicodeScalars.suffix(10_000)).utf8)
      #expect(tail.count == row["bytes"]!.int!)
      let ratio = Double(tail.count) / row["size"]!.double!
      let estimate = Double(tail.count) / estimatedDeflateSize(tail)
      if ratio < 100 { #expect(abs(estimate / ratio - 1) < 0.12, "\(ratio) \(estimate)") }
      if abs(ratio / 10 - 1) > 0.12 { #expect(hasRepetition(text) == (ratio > 10), "\(ratio) \(estimate)") }
    }
    #expect(!hasRepetition(String(repeating: "a", count: 10_000)))
  }

  @Test func countsByGroup() throws {
    func sample(_ group: Int, _ reward: Double, _ length: Int, _ status: Sample.Status = .completed) -> Sample {
      var made = Sample()
      (made.groupIndex, made.reward, made.responseLength, made.status) = (group, .number(reward), length, status)
      return made
    }
    let samples = [
      sample(0, 1, 1), sample(1, 0, 2, .truncated), sample(0, 1, 3), sample(1, 1, 10), sample(2, -0.04, 4), sample(3, 0.25, 4),
    ]
    let metrics = try rolloutMetrics(of: samples)
    #expect(metrics["rollout/zero_std/count_1.0"] == 1 && metrics["rollout/zero_std/count_0.0"] == 1)
    #expect(metrics["rollout/zero_std/count_0.2"] == 1)
    #expect(metrics["rollout/response_len/mean"] == 4 && metrics["rollout/response_len/median"] == 3.5)
    #expect(metrics["rollout/response_len/max"] == 10 && metrics["rollout/response_len/min"] == 1)
    #expect(metrics["rollout/truncated_ratio"] == 1.0 / 6 && metrics["rollout/prefix_cache_hit_rate"] == nil)
    #expect(throws: SampleError.self) { try rolloutMetrics(of: [Sample()]) }
  }
}
