import Benchmarks
import Testing

/// A short `slime bench soak`.
@Suite struct SoakTests {
  @Test func everyRequestEndsOnce() async throws {
    let report = try await SoakBenchmark.run(requests: 600, clients: 32, seed: 4)
    #expect(report.requests == 600 && report.outputTokens > 600)
    // It saw what it is made to survive.
    #expect(Set(report.endings.keys) == ["length", "stop", "abort", "left by the client"], "\(report.endings)")
    #expect(report.pauses > 0 && report.weightUpdates > 0 && report.cachedTokens > 0 && report.retractions > 0)
  }
}
