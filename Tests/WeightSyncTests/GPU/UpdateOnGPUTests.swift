import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

/// Weights that lie on a GPU, on their way into an engine there.
@Suite(.serialized, .onGPU) struct UpdateOnGPUTests {
  private static func weights(_ folder: HuggingFaceFolder) throws -> Weights {
    let files = try folder.weights()
    return Weights(
      try files.names.enumerated().map { index, name in
        let tensor = try files.tensor(name)
        return (name, tensor + Tensor.randn(tensor.shape, generator: Generator(seed: UInt64(index))) * 0.05)
      })
  }

  /// In place and through buckets, into plain weights and into e4m3: what the CPU would make of them, bit for bit.
  @Test(arguments: [true, false], [false, true])
  func everyWeightArrives(shares: Bool, isFloat8: Bool) async throws {
    let device = try GPU.open()
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    let weights = try Self.weights(folder)
    var options = EngineOptions(dtype: .bfloat16, device: device, maxTotalTokens: 512)
    options.quantization = isFloat8 ? .fp8 : nil
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    let update = UpdateWeightFromTensor(
      sources: [ShardSource(weights, shares: shares, device: device)], targets: [EngineTarget(engine, .inPlace)],
      bufferSize: 20_000)
    for version in ["1", "2"] {
      try await engine.resetWeights()
      try await update.update(version: version)
      for name in try await engine.weightNames() where !name.hasSuffix("_scale") {
        let found = try #require(try await engine.weight(named: name))
        let plain = weights[name].to(dtype: .bfloat16)
        guard found.dtype == .float8e4m3 else {
          #expect(found.bytes == plain.withBytes { Data($0) }, "\(name)")
          continue
        }
        let matrix = Float8Matrix(quantizing: plain, .row)
        #expect(found.bytes == matrix.values.withBytes { Data($0) }, "\(name)")
        #expect(try await engine.weight(named: name + "_scale")?.bytes == matrix.scales.withBytes { Data($0) }, "\(name)")
      }
      #expect(try await engine.status().weightVersion == version)
    }
  }

  /// Nothing is held twice.
  @Test func sharedWeightsTakeNoMemory() async throws {
    let device = try GPU.open()
    // In no memory that was kept of other tests, which would be given back with it.
    try DeviceMemory.emptyCache()
    let flat = Tensor.ones([64 << 20], dtype: .float32, device: device)
    let shard = WeightShard("a", shape: [64 << 20], box: TensorBox(whole: [64 << 20]), dtype: .float32)
    let before = try DeviceMemory.of(device).free
    let shared = try #require(try SharedWeights(moving: [WeightSlice(shard, flat)], on: device))
    #expect(abs(try DeviceMemory.of(device).free - before) < 8 << 20)
    var importer = SliceImporter()
    let slice = try importer.slices(of: [shared.bucket])[0]
    flat.mul_(3)
    #expect(slice.tensor.min().item() == 3 && slice.tensor.max().item() == 3)
    #expect(abs(try DeviceMemory.of(device).free - before) < 8 << 20)
  }
}
