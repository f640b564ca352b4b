import Foundation
import Orchestration
import Testing

/// Takes minutes: only where SLIME_BENCH_MEMORY is set.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["SLIME_BENCH_MEMORY"] != nil)) struct MemoryBenchmarkTests {
  @Test func peaksFallAsPlanned() async throws {
    let rows = try await MemoryBenchmark.run(command: WorkerCommand(executable: testWorker))
    print(MemoryBenchmark.table(rows))
    for row in rows {
      let error = Double(row.measured) / Double(row.planned) - 1
      #expect(abs(error) < 0.25, "\(row.layout): measured \(row.measured), planned \(row.planned)")
    }
  }
}
