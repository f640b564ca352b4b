import Inference
import JSON
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// A trainer on one GPU that broadcasts to a server on another, over NCCL.
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

  /// The server notices that rank 0 is gone, and serves on with the old weights; the next trainer reaches it.
  @Test func aSenderThatDiesLeavesTheOldWeights() async throws {
    try await WeightRoutesTests.withEngine(Self.options(), groupTimeout: .seconds(60)) { client, engine in
      let weights = try WeightRoutesTests.weights(5)
      let source = WeightsOfASeed(5, device: try GPU.open(0))
      let port = try await source.openWeightGroup(rankCount: 2, timeout: .seconds(30))
      let place = WeightGroupPlace(
        name: "g1", address: "127.0.0.1", port: port, rank: 0, size: 2, device: .cuda(0))
      async let joined: Void = source.joinWeightGroup(place, timeout: .seconds(30))
      let answer = try await client.post(
        "/init_weights_update_group",
        [
          "master_address": "127.0.0.1", "master_port": .int(port), "rank_offset": 1, "world_size": 2, "group_name": "g1",
          "backend": "nccl",
        ])
      #expect(answer.status == 200, "\(answer.body)")
      try await joined
      // The first broadcast connects the two.
      var request = WeightRequest(byteLimit: 1 << 30, dtype: .float32)
      request.broadcasting = .cuda
      let bucket = try await source.exportWeights(request).buckets[0]
      guard case .waiting(let number, _) = bucket.place else { return }
      #expect(try await client.post("/begin_weight_update", [:]).status == 200)
      let body = WeightGroupTests.body(weights, ("load_format", "flattened_bucket"))
      async let first = client.post("/update_weights_from_distributed", body)
      try await source.broadcastBucket(number)
      #expect(try await first.status == 200)
      async let second = client.post("/update_weights_from_distributed", body)
      try await Task.sleep(for: .milliseconds(200))
      await source.leaveWeightGroup()
      #expect(WeightRoutesTests.failure(try await second)?.contains("Failed to receive weights") == true)
      let served = try await client.generate(["input_ids": [5], "sampling_params": ["max_new_tokens": 2]])
      #expect(served.status == 200)
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(nil)))
      #expect(try await client.post("/destroy_weights_update_group", ["group_name": "g1"]).status == 200)
      let other = WeightsOfASeed(6, device: .cuda(0))
      try await UpdateWeightFromDistributed(
        sources: [other], engines: ["127.0.0.1:\(client.port)"], bufferSize: 5000, dtype: .float32, way: .broadcast(.cuda),
        timeout: .seconds(30)
      ).update(version: "6")
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(6)))
    }
  }
}
