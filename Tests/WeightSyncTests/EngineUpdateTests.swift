import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

/// Weights on their way into real engines.
@Suite(.serialized) struct EngineUpdateTests {
  private struct Target: WeightTarget {
    let engine: Engine

    func beginWeightUpdate() async throws { try await engine.beginWeightUpdate() }
    func loadWeights(_ bucket: WeightBucket) async throws { try await engine.updateWeights(try bucket.open()) }
    func endWeightUpdate(version: String) async throws { try await engine.endWeightUpdate(version: version) }
  }

  /// After an update an engine is one that was loaded with these weights, bit for bit.
  @Test(arguments: [("qwen2", 600), ("qwen3-tied", 1 << 26), ("llama-biases-3-heads", 5000)])
  func anUpdatedEngineEqualsALoadedOne(name: String, byteLimit: Int) async throws {
    let folder = try HuggingFaceFolder(fixture("models/\(name)"))
    let weights = try folder.weights()
    let changed = try weights.names.enumerated().map { index, name in
      let tensor = try weights.tensor(name)
      return (name: name, tensor: tensor + Tensor.randn(tensor.shape, generator: Generator(seed: UInt64(index))) * 0.05)
    }
    let other = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: other) }
    try HuggingFaceFolder.save(
      to: other, config: folder.config, tensors: changed.map { TensorSource($0.name, $0.tensor) }, copyingFrom: folder)

    let engine = try Engine(folder: folder, tokenizer: nil)
    let before = try await engine.generate(request)
    let loaded = try await Engine(folder: HuggingFaceFolder(other), tokenizer: nil).generate(request)
    #expect(before.outputLogProbs != loaded.outputLogProbs)

    let files = try HuggingFaceFolder(other).weights()
    let source = UnitSource(units: files.names.map { name in { [(name, try! files.tensor(name))] } })
    let update = UpdateWeightFromTensor(sources: [source], targets: [Target(engine: engine)], bufferSize: byteLimit, dtype: .float32)
    try await update.update(version: "12")
    let after = try await engine.generate(request)
    #expect(after.outputTokens == loaded.outputTokens && after.outputLogProbs == loaded.outputLogProbs)
    #expect(after.inputLogProbs == loaded.inputLogProbs)
    #expect(after.weightVersion == "12" && before.weightVersion != "12")
    #expect(try openBuckets() == 0)
  }

  @Test func wrongWeightsAreRefusedInOneSentence() async throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    let engine = try Engine(folder: folder, tokenizer: nil)
    let before = try await engine.generate(request)
    for (name, shape, words) in [("model.nothing.weight", [2], "does not have"), ("model.norm.weight", [3], "[3]")] {
      let source = UnitSource(units: [{ [(name, Tensor.ones(shape))] }])
      let update = UpdateWeightFromTensor(
        sources: [source], targets: [Target(engine: engine)], bufferSize: 1 << 20, dtype: .float32)
      let error = await #expect(throws: EngineError.self) { try await update.update(version: "3") }
      let sentence = try #require(error).description
      #expect(sentence.contains(name) && sentence.contains(words) && !sentence.contains("\n"))
    }
    #expect(try openBuckets() == 0)
    let weights = try folder.weights()
    let whole = UnitSource(units: [{ weights.names.map { ($0, try! weights.tensor($0)) } }])
    try await UpdateWeightFromTensor(
      sources: [whole], targets: [Target(engine: engine)], bufferSize: 1 << 20, dtype: .float32
    ).update(version: "4")
    let after = try await engine.generate(request)
    #expect(after.outputLogProbs == before.outputLogProbs && after.weightVersion == "4")
  }

  private var request: GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens, sampling.ignoreEOS) = (0, 8, true)
    return GenerateRequest(
      id: UUID().uuidString, tokens: [5, 9, 33, 60, 12, 7], sampling: sampling, returnLogProbs: true, logProbStart: 0)
  }
}
