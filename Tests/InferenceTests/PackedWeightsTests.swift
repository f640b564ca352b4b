import Checkpoints
import Foundation
import Inference
import Models
import TestSupport
import Testing
import Torch

/// Copies of an engine's weights for products on a CPU, which are never those of other weights.
@Suite struct PackedWeightsTests {
  #if arch(x86_64)
    private static let names = ["qwen3-tied", "llama-biases-3-heads", "qwen3-moe", "gpt2"]

    private static func logits(_ model: CausalLM) -> Tensor {
      let tokens = (0..<20).map { $0 * 7 % 60 }
      let context = ForwardContext(
        positions: .arange(tokens.count), attention: PackedAttention(lengths: [tokens.count], device: .cpu))
      return model.logits(model.hidden(Tensor(tokens), context)).detached()
    }

    /// Writes zeros where no operator does, so that nothing counts the write.
    private static func clear(_ model: CausalLM) {
      for parameter in model.matrices { parameter.tensor.withMutableBytes { $0.initializeMemory(as: UInt8.self, repeating: 0) } }
    }

    /// Models compute with the copies where no gradients are wanted, and only there.
    @Test(arguments: names) func modelsUseThem(_ name: String) throws {
      let model = try ReferenceModel(modelFolder(name)).model
      let packed = PackedWeights(model, head: nil)
      let plain = withoutGradients { Self.logits(model) }
      packed.make()
      #expect(!model.matrices.isEmpty && model.matrices.allSatisfy { $0.packed != nil })
      let found = withoutGradients { Self.logits(model) }
      #expect(found.allclose(plain, rtol: 1e-4, atol: 1e-4))
      guard !model.configuration.tiesEmbeddings else { return }
      Self.clear(model)
      #expect(withoutGradients { Self.logits(model) }.equal(found))
      #expect(Self.logits(model).abs().max().item() == 0)
    }

    /// What happens to weights inside `change` is what the next copies hold, even where nothing counts the writes.
    @Test(arguments: names) func changesLetThemGo(_ name: String) throws {
      try withoutGradients {
        let model = try ReferenceModel(modelFolder(name)).model
        let packed = PackedWeights(model, head: nil)
        packed.make()
        packed.change {
          #expect(model.matrices.allSatisfy { $0.packed == nil })
          Self.clear(model)
        }
        #expect(model.matrices.allSatisfy { $0.packed == nil })
        packed.make()
        #expect(model.matrices.allSatisfy { $0.packed != nil })
        #expect(Self.logits(model).abs().max().item() == 0)
      }
    }
  #endif

  /// The ways in which an engine's weights become others, or go and come back.
  enum Change: CaseIterable {
    case bucket, folder, wholeUpdate, slices, slicesInPlace, linked, reset, sleep, sleepWithoutStash

    func apply(to engine: Engine, _ folder: HuggingFaceFolder) async throws {
      let weights = try folder.weights()
      let installation = WeightInstallation(version: "2")
      func bytes() throws -> [NamedBytes] {
        try weights.names.map { name in
          let tensor = try weights.tensor(name)
          return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
        }
      }
      func slices() throws -> [WeightSlice] {
        try weights.names.map { name in
          let tensor = try weights.tensor(name).clone()
          return WeightSlice(
            WeightShard(name, shape: tensor.shape, box: TensorBox(whole: tensor.shape), dtype: tensor.dtype), tensor)
        }
      }
      func sendSlices(_ staging: WeightStaging) async throws {
        try await engine.beginWeightUpdate(staging)
        for slice in try slices() {
          let one = HandedOver([slice])
          try await engine.updateWeights(one.value)
        }
        try await engine.endWeightUpdate(installation)
      }
      switch self {
      case .bucket: try await engine.replaceWeights(bytes(), installation)
      case .folder: try await engine.replaceWeights(from: folder.url, installation)
      case .wholeUpdate:
        try await engine.beginWeightUpdate()
        for weight in try bytes() { try await engine.updateWeights([weight]) }
        try await engine.endWeightUpdate(installation)
      case .slices: try await sendSlices(.beside)
      case .slicesInPlace: try await sendSlices(.inPlace)
      case .linked:
        let all = HandedOver(try slices())
        try await engine.linkWeights(all.value)
        try await engine.copyLinkedWeights(installation)
      case .reset:
        try await engine.resetWeights()
        try await engine.replaceWeights(bytes(), installation)
      case .sleep, .sleepWithoutStash:
        try await engine.releaseMemory(Set(MemoryTag.allCases))
        try await engine.resumeMemory(Set(MemoryTag.allCases))
        try await engine.replaceWeights(bytes(), installation)
      }
    }
  }

  private static var request: GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens, sampling.ignoreEOS) = (0, 8, true)
    return GenerateRequest(
      id: UUID().uuidString, tokens: [5, 9, 33, 60, 12, 7], sampling: sampling, returnLogProbs: true, logProbStart: 0)
  }

  /// An engine that has served says after each change what one says that was loaded with the new weights, bit for bit, and
  /// after a change back what it said before.
  @Test(arguments: [("qwen3-tied", 1), ("llama-biases-3-heads", 1), ("qwen3-tied", 2)], Change.allCases)
  func enginesServeTheNewWeights(_ model: (name: String, ranks: Int), _ change: Change) async throws {
    let folder = try modelFolder(model.name)
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    let weights = try folder.weights()
    try HuggingFaceFolder.save(
      to: area, config: folder.config,
      tensors: try weights.names.enumerated().map { index, name in
        let tensor = try weights.tensor(name)
        return TensorSource(
          name, tensor + Tensor.randn(tensor.shape, generator: Generator(seed: UInt64(index))).to(dtype: tensor.dtype) * 0.05)
      }, copyingFrom: folder)
    let changed = try HuggingFaceFolder(area)

    var options = EngineOptions()
    (options.tensorParallelSize, options.collectiveTimeout) = (model.ranks, .seconds(30))
    options.stashesWeights = change != .sleepWithoutStash
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    let before = try await engine.generate(Self.request)
    let loaded = try await Engine(folder: changed, tokenizer: nil, options: options).generate(Self.request)
    #expect(before.outputLogProbs != loaded.outputLogProbs)
    for (folder, wanted) in [(changed, loaded), (folder, before), (changed, loaded)] {
      try await change.apply(to: engine, folder)
      let after = try await engine.generate(Self.request)
      #expect(after.outputTokens == wanted.outputTokens && after.outputLogProbs == wanted.outputLogProbs)
      #expect(after.inputLogProbs == wanted.inputLogProbs && after.weightVersion == "2")
    }
    // Memory that keeps its numbers while the engine sleeps.
    if change == .sleep {
      try await engine.releaseMemory([.weights])
      try await engine.resumeMemory([.weights])
      #expect(try await engine.generate(Self.request).outputLogProbs == loaded.outputLogProbs)
    }
  }
}
