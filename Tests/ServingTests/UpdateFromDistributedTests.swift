import Checkpoints
import Foundation
import HTTP
import Inference
import JSON
import Models
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// A trainer's rank whose units are single weights.
actor WeightsOfASeed: WeightSource {
  private let weights: @Sendable () throws -> [(name: String, tensor: Tensor)]
  private let scalings: [String: Float8Scaling]
  private let device: Device
  private var exporter = WeightExporter()
  private var sender = WeightSender()
  private(set) var exports = 0

  init(_ seed: UInt64, device: Device = .cpu) {
    self.init(device: device) { try WeightRoutesTests.weights(seed).map { ($0.name, $0.tensor.to(device: device)) } }
  }

  init(
    scalings: [String: Float8Scaling] = [:], device: Device = .cpu,
    _ weights: @escaping @Sendable () throws -> [(name: String, tensor: Tensor)]
  ) {
    (self.weights, self.scalings, self.device) = (weights, scalings, device)
  }

  func exportWeights(_ request: WeightRequest) throws -> WeightExport {
    exports += 1
    let weights = try weights()
    return try exporter.export(
      request, elementCounts: weights.map(\.tensor.count), fills: true, device: device, scaling: { scalings[$0] }) { [weights[$0]] }
  }

  func releaseWeights() { exporter.release() }

  func openWeightGroup(rankCount: Int, timeout: Duration) throws -> Int { try sender.open(rankCount: rankCount, timeout: timeout) }
  func joinWeightGroup(_ place: WeightGroupPlace, timeout: Duration) async throws {
    var place = place
    if place.device.kind == .cuda { place.device = device }
    try await sender.enter(place).join(timeout: timeout)
  }
  func broadcastBucket(_ number: Int) async throws { try await sender.bucket(number, of: &exporter).send() }
  func leaveWeightGroup() { sender.leave() }
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

  /// An engine of several ranks has as many places in the group, as SGLang's have.
  @Test func anEngineOfTwoRanks() async throws {
    try await WeightRoutesTests.withEngine(ranks: 2) { client, engine in
      let source = WeightsOfASeed(23)
      let update = try UpdateWeightFromDistributed(
        sources: [source], engines: ["http://127.0.0.1:\(client.port)"], bufferSize: 5000, dtype: .float32,
        way: .broadcast(.cpu), timeout: .seconds(20))
      for version in ["1", "2"] { try await update.update(version: version) }
      #expect(try await WeightRoutesTests.holds(engine, WeightRoutesTests.weights(23)))
      try await update.disconnect()
    }
  }

  /// What the checkpoint has as e4m3 travels so: numbers and scales, half the bytes, and the bits that the engine would have
  /// made of plain numbers.
  @Test(arguments: [UpdateWeightFromDistributed.Way.broadcast(.cpu), .requests])
  func quantizedOnTheWay(way: UpdateWeightFromDistributed.Way) async throws {
    let folder = try HuggingFaceFolder(fixture("float8/qwen3-block-16"))
    let configuration = try ModelRegistry.configuration(of: folder)
    let scaling = try #require(configuration.storedQuantization?.scaling)
    try await WeightRoutesTests.withEngine(folder: folder) { client, engine in
      let scaled = try await engine.weightNames().filter { $0.hasSuffix(scaling.scaleSuffix) }
        .map { String($0.dropLast(scaling.scaleSuffix.count)) }
      let scalings = Dictionary(uniqueKeysWithValues: scaled.map { ($0, scaling) })
      let weights: @Sendable () throws -> [(name: String, tensor: Tensor)] = {
        let model = try configuration.model(parallel: .single(), dtype: .float32)
        model.initialize(seed: 9)
        return model.table.parameters.flatMap { parameter in
          checkpointTensors(parameter, parameter.tensor).map { (name: $0.name, tensor: $0.tensor) }
        }
      }
      var sizes: [Int] = []
      for isFloat8 in [false, true] {
        try await engine.resetWeights()
        let source = WeightsOfASeed(scalings: scalings, weights)
        let update = try UpdateWeightFromDistributed(
          sources: [source], engines: ["http://127.0.0.1:\(client.port)"], bufferSize: 30_000, dtype: .bfloat16,
          isFloat8: isFloat8, way: way, timeout: .seconds(20))
        sizes.append(try #require(try await update.update(version: "\(isFloat8)").bytes))
        for (name, tensor) in try weights() where scaled.contains(name) {
          let wanted = Float8Matrix(quantizing: tensor.to(dtype: .bfloat16), scaling)
          #expect(try await engine.weight(named: name)?.bytes == wanted.values.withBytes { Data($0) }, "\(name)")
          let scales = wanted.storedScales(scaling)
          #expect(try await engine.weight(named: name + scaling.scaleSuffix)?.bytes == scales.withBytes { Data($0) }, "\(name)")
        }
        try await update.disconnect()
      }
      #expect(scaled.count > 10 && Double(sizes[1]) < 0.8 * Double(sizes[0]))
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
