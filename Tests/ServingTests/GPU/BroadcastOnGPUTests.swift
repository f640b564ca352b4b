import Inference
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// A trainer on one GPU that broadcasts to a server on another, over NCCL. What becomes of a server whose sender dies is shown
/// with processes, by Scripts/gpu/broadcast.py: in one process an abort waits for the other rank's kernels.
@Suite(.serialized, .onTwoGPUs) struct BroadcastOnGPUTests {
  private static func options() throws -> EngineOptions {
    _ = try GPU.open(1)
    return EngineOptions(dtype: .float32, device: .cuda(1), maxTotalTokens: 4096)
  }

  @Test func broadcastsArrive() async throws {
    try await WeightRoutesTests.withEngine(Self.options()) { client, engine in
      let source = WeightsOfASeed(21, device: try GPU.open(0))
      let update = try UpdateWeightFromDistributed(
        sources: [source], engines: ["127.0.0.1:\(client.port)"], bufferSize: 5000, dtype: .float32, way: .broadcast(.cuda),
        timeout: .seconds(30))
      for version in ["1", "2"] {
        try await engine.resetWeights()
        try await update.update(version: version)
        #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(21)))
        #expect(try await WeightRoutesTests.version(client) == version)
      }
      try await update.disconnect()
    }
  }
}
