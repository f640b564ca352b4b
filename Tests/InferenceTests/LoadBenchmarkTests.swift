import Benchmarks
import Foundation
import TestSupport
import Testing

/// That it measures what it says, on a model of one layer, and leaves nothing behind.
@Suite struct LoadBenchmarkTests {
  @Test func bothSidesAreTimed() throws {
    try withTemporaryFolder { folder in
      var work = LoadBenchmark.Work()
      (work.temporaryFolder, work.bytes, work.rounds, work.vocabularySize) = (folder, 0, 1, 1000)
      let rows = try LoadBenchmark.run(work)
      #expect(rows.map(\.pageCache) == ["warm", "cold"])
      // A layer of 50.3 million numbers, and the embedding.
      #expect(rows.allSatisfy { $0.bytes > 104_000_000 && $0.bytes < 106_000_000 && $0.readSeconds > 0 && $0.loadSeconds > 0 })
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }
  }
}
