import Checkpoints
import Foundation
import HTTP
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// A trainer's rank whose units are single weights.
private actor WeightsOfASeed: WeightSource {
  private let seed: UInt64
  private var exporter = WeightExporter()
  private(set) var exports = 0

  init(_ seed: UInt64) { self.seed = seed }

  func exportWeights(fromUnit unit: Int, byteLimit: Int, dtype: DType) throws -> WeightExport {
    exports += 1
    let weights = try WeightRoutesTests.weights(seed)
    return try exporter.export(
      fromUnit: unit, elementCounts: weights.map(\.tensor.count), byteLimit: byteLimit, dtype: dtype, fills: true
    ) { [weights[$0]] }
  }

  func releaseWeights() { exporter.release() }
}

@Suite(.serialized) struct UpdateFromDistributedTests {
  @Test(arguments: [UpdateWeightFromDistributed.Way.broadcast(.cpu), .requests])
  func engineElsewhere(way: UpdateWeightFromDistributed.Way) async throws {
    try await WeightRoutesTests.withEngine { client, engine in
      try await WeightRoutesTests.withEngine { other, otherEngine in
        let addresses = [client, other].map { "http://127.0.0.1:\($0.port)" }
        let long: JSONValue = ["max_new_tokens": 300, "ignore_eos": true, "temperature": 0]
        async let running = client.generate(["input_ids": [5, 6], "sampling_params": long])
        for (seed, limit) in [(21, 5000), (22, 1 << 24)] as [(UInt64, Int)] {
          let source = WeightsOfASeed(seed)
          let update = try UpdateWeightFromDistributed(
            sources: [source], engines: addresses, bufferSize: limit, dtype: .float32, way: way, timeout: .seconds(20))
          try await update.update(version: "v\(seed)")
          for served in [engine, otherEngine] {
            #expect(try await WeightRoutesTests.holds(served, WeightRoutesTests.weights(seed)))
          }
          #expect(try await WeightRoutesTests.version(client) == "v\(seed)")
          #expect((await source.exports > 1) == (limit == 5000))
          try await update.disconnect()
        }
        #expect(try await running.json["output_ids"]?.array?.count == 300)
      }
    }
  }

  @Test func throughAFolder() async throws {
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: place) }
    try await WeightRoutesTests.withEngine { client, engine in
      let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
      let target = try RemoteEngine("127.0.0.1:\(client.port)")
      let update = UpdateWeightFromDisk(targets: [target], folder: place) { url in
        #expect(url.lastPathComponent == "weight_v000031")
        try HuggingFaceFolder.save(
          to: url, config: folder.config, tensors: WeightRoutesTests.weights(31).map { TensorSource($0.name, $0.tensor) },
          copyingFrom: folder)
      }
      try await update.update(version: 31)
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(31)))
      #expect(try await WeightRoutesTests.version(client) == "31")
      #expect(try FileManager.default.contentsOfDirectory(atPath: place.path).isEmpty)
      // A version that is not written whole is refused, and the engine goes on.
      let broken = UpdateWeightFromDisk(targets: [target], folder: place) { url in
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
      }
      await #expect(throws: WeightSyncError.self) { try await broken.update(version: 32) }
      #expect(try await WeightRoutesTests.version(client) == "31")
      #expect(try await client.generate(["input_ids": [5], "sampling_params": ["max_new_tokens": 2]]).status == 200)
    }
  }

  @Test func anEngineThatIsGoneIsAnError() async throws {
    let update = try UpdateWeightFromDistributed(
      sources: [WeightsOfASeed(1)], engines: ["http://127.0.0.1:9"], bufferSize: 1 << 20, dtype: .float32, way: .requests,
      timeout: .seconds(2))
    let error = await #expect(throws: WeightSyncError.self) { try await update.update(version: "1") }
    #expect(try #require(error).description.contains("127.0.0.1:9"))
    #expect(throws: HTTPClientError.badURL("no/server")) { try RemoteEngine("no/server") }
  }
}
