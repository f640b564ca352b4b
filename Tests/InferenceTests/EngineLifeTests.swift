import Checkpoints
import Foundation
import Inference
import Models
import TestSupport
import Testing
import Torch

/// Errors, pauses, weight updates: what an engine lives through.
@Suite struct EngineLifeTests {
  private func request(_ id: String, maxNewTokens: Int = 8) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, maxNewTokens)
    return GenerateRequest(id: id, tokens: [5, 6, 7, 8], sampling: sampling, returnLogProbs: true)
  }

  @Test func aFailedStepFailsItsRequestsAlone() async throws {
    let box = Unchecked(steps: 0)
    var options = EngineOptions(pageSize: 2, maxTotalTokens: 200)
    options.onPlan = { plan in
      box.steps += 1
      if box.steps == 3 { throw EngineError("Injected.") }
      // libtorch's own: a view that does not fit.
      if box.steps == 6 { _ = Tensor.zeros([2]).view([3]) }
    }
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil, options: options)
    for (round, part) in ["Injected", "shape '[3]'"].enumerated() {
      let error = await #expect(throws: EngineError.self) { try await engine.generate(self.request("a\(round)")) }
      #expect("\(try #require(error))".contains(part), "\(String(describing: error))")
      try await expectIdle(engine)
    }
    #expect(try await engine.generate(request("b")).outputTokens.count == 8)
    try await expectIdle(engine)
  }

  @Test func refusesWhatItCannotServe() async throws {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    var stopping = request("a")
    stopping.sampling.stop = ["x"]
    await #expect(throws: InvalidRequest.self) { try await engine.generate(stopping) }
    var foreign = request("a")
    foreign.tokens = [97]
    await #expect(throws: InvalidRequest.self) { try await engine.generate(foreign) }
    var impossible = request("a")
    impossible.sampling.logitBias = Dictionary(uniqueKeysWithValues: (0..<97).map { ($0, -Double.infinity) })
    await #expect(throws: EngineError.self) { try await engine.generate(impossible) }
    try await expectIdle(engine)
    engine.shutDown()
    await #expect(throws: EngineError.self) { try await engine.generate(request("a")) }
    await #expect(throws: EngineError.self) { try await engine.status() }
    #expect(throws: EngineError.self) {
      try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil, options: EngineOptions(maxTotalTokens: 3))
    }
  }

  @Test func anAbandonedRequestLeaves() async throws {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    for try await update in engine.stream(request("a", maxNewTokens: 400)) where update.outputTokens.count > 2 { break }
    let task = Task { try await engine.generate(request("b", maxNewTokens: 400)) }
    try await Task.sleep(for: .milliseconds(5))
    task.cancel()
    _ = await task.result
    try await expectIdle(engine)
    #expect(try await engine.status().generatedTokens < 700)
  }

  @Test func pausesInThreeWays() async throws {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil, options: EngineOptions(pageSize: 4))
    let wanted = try await engine.generate(request("a", maxNewTokens: 200)).outputTokens
    for mode in PauseMode.allCases {
      async let output = engine.generate(request("b", maxNewTokens: 200))
      while try await engine.status().runningRequests == 0 { await Task.yield() }
      try await engine.pause(mode)
      let status = try await engine.status()
      #expect(await engine.flushCache() == (mode != .inPlace))
      #expect((status.freePages == status.totalPages) == (mode != .inPlace))
      let generated = status.generatedTokens
      try await Task.sleep(for: .milliseconds(5))
      #expect(try await engine.status().generatedTokens == generated)
      try await engine.resume()
      let found = try await output
      if mode == .abort {
        #expect(found.finishReason == .abort("Aborted") && wanted.starts(with: found.outputTokens))
      } else {
        #expect(found.outputTokens == wanted && found.retractions == (mode == .retract ? 1 : 0))
      }
    }
    try await expectIdle(engine)
  }

  // MARK: Weights

  /// Other weights for the fixture: each tensor turned upside down along its rows.
  private static func changed(_ folder: HuggingFaceFolder) throws -> [(String, Tensor)] {
    let files = try folder.weights()
    return try files.names.map { ($0, try files.tensor($0).flip([0]).contiguous()) }
  }

  @Test(arguments: ["qwen3-tied", "llama3-gqa", "llama-biases-3-heads"])
  func anUpdateEqualsAFreshEngine(_ name: String) async throws {
    let folder = try modelFolder(name)
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: place) }
    try HuggingFaceFolder.save(
      to: place, config: folder.config, tensors: Self.changed(folder).map { TensorSource($0, $1) }, copyingFrom: folder)
    let fresh = try Engine(folder: HuggingFaceFolder(place), tokenizer: nil)
    let engine = try Engine(folder: folder, tokenizer: nil)
    let before = try await engine.generate(request("a"))
    #expect(before.weightVersion == "default" && before.weightVersions.isEmpty)

    try await engine.beginWeightUpdate()
    let tensors = try Self.changed(folder)
    for bucket in stride(from: 0, to: tensors.count, by: 5) {
      let part = tensors[bucket..<min(bucket + 5, tensors.count)]
      if bucket % 2 == 0 {
        let named = Handed(part.map { NamedTensor($0, $1) })
        try await engine.updateWeights(named.value)
      } else {
        try await engine.updateWeights(
          part.map { name, tensor in
            NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
          })
      }
    }
    try await engine.endWeightUpdate(version: "7")
    let after = try await engine.generate(request("a"))
    let wanted = try await fresh.generate(request("a"))
    #expect(after.outputTokens == wanted.outputTokens && after.outputLogProbs == wanted.outputLogProbs)
    #expect(after.outputTokens != before.outputTokens && after.weightVersion == "7")
    #expect(try await engine.status().weightVersion == "7")
  }

  @Test func aRunningRequestGoesOnWithTheNewWeights() async throws {
    let folder = try modelFolder("qwen3-tied")
    let engine = try Engine(folder: folder, tokenizer: nil)
    var count = 0
    var last: GenerateOutput?
    for try await update in engine.stream(request("a", maxNewTokens: 300)) {
      count += 1
      last = update
      if count == 2 {
        try await engine.beginWeightUpdate()
        try await engine.endWeightUpdate(version: "2")
      }
    }
    let output = try #require(last)
    #expect(output.weightVersion == "2" && output.weightVersions.map(\.version) == ["default", "2"])
    #expect(output.weightVersions[0].start == 0 && output.weightVersions[0].end == output.weightVersions[1].start)
    #expect(output.weightVersions[1].end == 300)
  }

  @Test func aWrongUpdateChangesNothingAndIsNotForgotten() async throws {
    let folder = try modelFolder("qwen3-tied")
    let engine = try Engine(folder: folder, tokenizer: nil)
    let before = try await engine.generate(request("a"))
    let norm = "model.norm.weight"
    await #expect(throws: EngineError.self) { try await engine.updateWeights([NamedBytes]()) }
    try await engine.beginWeightUpdate()
    func bytes(_ name: String, _ count: Int) -> NamedBytes {
      NamedBytes(name, dtype: .float32, shape: [count], bytes: Data(count: 4 * count))
    }
    for wrong in [bytes("model.nothing", 32), bytes(norm, 31)] {
      await #expect(throws: EngineError.self) { try await engine.updateWeights([bytes(norm, 32), wrong]) }
    }
    await #expect(throws: EngineError.self) { try await engine.endWeightUpdate(version: "2") }
    try await engine.beginWeightUpdate()
    try await engine.endWeightUpdate(version: "3")
    let after = try await engine.generate(request("a"))
    #expect(after.outputLogProbs == before.outputLogProbs && after.weightVersion == "3")
  }
}

/// Touched by the engine's thread alone.
private final class Unchecked: @unchecked Sendable {
  var steps: Int
  init(steps: Int) { self.steps = steps }
}

private struct Handed: @unchecked Sendable {
  let value: [NamedTensor]
  init(_ value: [NamedTensor]) { self.value = value }
}
