import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Torch
import WeightSync

/// An engine of this process.
actor EngineTarget: WeightTarget {
  nonisolated let name = "the engine"
  private let engine: Engine
  private let staging: WeightStaging
  private var importer = SliceImporter()
  private let failsAtLoad: Int?
  private var loads = 0

  init(_ engine: Engine, _ staging: WeightStaging = .beside, failsAtLoad: Int? = nil) {
    (self.engine, self.staging, self.failsAtLoad) = (engine, staging, failsAtLoad)
  }

  func weightShards() async throws -> [[WeightShard]] { try await engine.weightShards() }
  func beginWeightUpdate() async throws { try await engine.beginWeightUpdate(staging) }
  func loadWeights(_ buckets: [SliceBucket]) async throws {
    if failsAtLoad == loads { throw Injected(description: "stopped") }
    loads += 1
    try await engine.updateWeights(try importer.slices(of: buckets))
  }
  func linkWeights(_ shared: [SliceBucket]) async throws {
    var opening = SliceImporter()
    try await engine.linkWeights(try opening.slices(of: shared))
  }
  func copyLinkedWeights(version: String) async throws {
    try await engine.copyLinkedWeights(WeightInstallation(version: version, retractsRequests: true))
  }
  func endWeightUpdate(version: String) async throws {
    importer.close()
    try await engine.endWeightUpdate(WeightInstallation(version: version, retractsRequests: true))
  }
  func abandonWeightUpdate() async throws {
    importer.close()
    try await engine.abandonWeightUpdate()
  }
}

/// Weights on their way into real engines.
@Suite(.serialized) struct EngineUpdateTests {
  private static func changed(_ folder: HuggingFaceFolder) throws -> Weights {
    let weights = try folder.weights()
    return Weights(
      try weights.names.enumerated().map { index, name in
        let tensor = try weights.tensor(name)
        return (name: name, tensor: tensor + Tensor.randn(tensor.shape, generator: Generator(seed: UInt64(index))) * 0.05)
      })
  }

  /// After an update an engine is one that was loaded with these weights, bit for bit; without a staging they are read in the
  /// trainer's memory.
  @Test(
    arguments: [("qwen2", 600, 1), ("qwen3-tied", 1 << 26, 1), ("llama-biases-3-heads", 5000, 1), ("qwen3-tied", 2000, 2)],
    [WeightStaging.beside, .inPlace, nil])
  func anUpdatedEngineEqualsALoadedOne(model: (name: String, byteLimit: Int, ranks: Int), staging: WeightStaging?) async throws {
    let folder = try HuggingFaceFolder(fixture("models/\(model.name)"))
    let weights = try Self.changed(folder)
    let other = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: other) }
    try HuggingFaceFolder.save(
      to: other, config: folder.config, tensors: weights.tensors.map { TensorSource($0.name, $0.tensor) }, copyingFrom: folder)
    var options = EngineOptions()
    options.tensorParallelSize = model.ranks

    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    let before = try await engine.generate(request)
    let loaded = try await Engine(folder: HuggingFaceFolder(other), tokenizer: nil, options: options).generate(request)
    #expect(before.outputLogProbs != loaded.outputLogProbs)

    let update = UpdateWeightFromTensor(
      sources: [ShardSource(weights, shares: staging == nil)], targets: [EngineTarget(engine, staging ?? .beside)],
      bufferSize: model.byteLimit)
    try await update.update(version: "12")
    let after = try await engine.generate(request)
    #expect(after.outputTokens == loaded.outputTokens && after.outputLogProbs == loaded.outputLogProbs)
    #expect(after.inputLogProbs == loaded.inputLogProbs)
    #expect(after.weightVersion == "12" && before.weightVersion != "12")
    try await engine.checkIntegrity()
    // An engine keeps what it is linked to open.
    if staging != nil { #expect(try openBuckets() == 0) }
  }

  @Test func onlyWholeModelsAreLinked() async throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    let engine = try Engine(folder: folder, tokenizer: nil)
    await #expect(throws: EngineError.self) { try await engine.copyLinkedWeights(WeightInstallation(version: "1")) }
    let weights = try Self.changed(folder)
    func slices(_ shards: [WeightShard]) -> [WeightSlice] { shards.map { WeightSlice($0, weights[$0.name].clone()) } }
    let error = await #expect(throws: EngineError.self) {
      try await engine.linkWeights(slices(weights.whole.filter { $0.name != "model.norm.weight" }))
    }
    #expect(try #require(error).description.contains("'model.norm.weight' did not reach rank 0"))
    let before = try await engine.generate(request)
    try await engine.linkWeights(slices(weights.whole))
    #expect(try await engine.generate(request).outputLogProbs == before.outputLogProbs)
    try await engine.copyLinkedWeights(WeightInstallation(version: "1"))
    let after = try await engine.generate(request)
    #expect(after.weightVersion == "1" && after.outputLogProbs != before.outputLogProbs)
  }

  @Test func wrongWeightsAreRefusedInOneSentence() async throws {
    let engine = try Engine(folder: HuggingFaceFolder(fixture("models/qwen3-tied")), tokenizer: nil)
    for (name, shape, sizes, words) in [
      ("model.nothing.weight", [2], [2], "does not have"), ("model.norm.weight", [3], [3], "[3]"),
      ("model.norm.weight", [32], [33], "does not fit"),
    ] {
      try await engine.beginWeightUpdate(.beside)
      let shard = WeightShard(name, shape: shape, box: TensorBox(whole: sizes), dtype: .float32)
      let error = await #expect(throws: EngineError.self) {
        try await engine.updateWeights([WeightSlice(shard, Tensor.ones(sizes))])
      }
      let sentence = try #require(error).description
      #expect(sentence.contains(name) && sentence.contains(words) && !sentence.contains("\n"))
      await #expect(throws: EngineError.self) { try await engine.endWeightUpdate(version: "3") }
    }
    #expect(try await engine.generate(request).weightVersion == "default")
  }

  /// An update that breaks off changes nothing; one into the model itself leaves an engine that waits for the next.
  @Test(arguments: [WeightStaging.beside, .inPlace], [1, 2])
  func anUpdateComesWholeOrNotAtAll(staging: WeightStaging, ranks: Int) async throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    var options = EngineOptions()
    options.tensorParallelSize = ranks
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    let before = try await engine.generate(request)
    let weights = try Self.changed(folder)
    let source = ShardSource(weights)
    await #expect(throws: Injected.self) {
      try await UpdateWeightFromTensor(
        sources: [source], targets: [EngineTarget(engine, staging, failsAtLoad: 3)], bufferSize: 4000
      ).update(version: "1")
    }
    // What did not come whole is refused at the end too.
    try await engine.beginWeightUpdate(staging)
    let norm = weights.whole.first { $0.name == "model.norm.weight" }!
    try await engine.updateWeights([WeightSlice(norm, weights[norm.name].clone())])
    let error = await #expect(throws: EngineError.self) { try await engine.endWeightUpdate(version: "2") }
    #expect(try #require(error).description.contains("did not reach rank"))

    async let waiting = engine.generate(request)
    if staging == .inPlace {
      while try await engine.status().waitingRequests == 0 { try await Task.sleep(for: .milliseconds(5)) }
      try await Task.sleep(for: .milliseconds(50))
      #expect(try await engine.status().generatedTokens == before.outputTokens.count)
    } else {
      let served = try await waiting
      #expect(served.outputLogProbs == before.outputLogProbs && served.weightVersion == "default")
      for name in try await engine.weightNames() {
        let found = try #require(try await engine.weight(named: name))
        #expect(try folder.weights().tensor(name).to(dtype: found.dtype).withBytes { Data($0) } == found.bytes)
      }
    }
    let whole = Weights(try folder.weights().names.map { ($0, try folder.weights().tensor($0)) })
    try await UpdateWeightFromTensor(sources: [ShardSource(whole)], targets: [EngineTarget(engine, staging)], bufferSize: 4000)
      .update(version: "4")
    let late = try await waiting
    #expect(late.outputLogProbs == before.outputLogProbs)
    #expect(late.weightVersion == (staging == .inPlace ? "4" : "default"))
    let after = try await engine.generate(request)
    #expect(after.outputLogProbs == before.outputLogProbs && after.weightVersion == "4")
  }

  /// A request in flight pauses at each change and goes on; each token is of the weights that its version names.
  @Test func tokensKnowTheirVersions() async throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    var options = EngineOptions()
    // Slow enough for what happens meanwhile.
    options.onPlan = { _ in usleep(2000) }
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    let old = Weights(try folder.weights().names.map { ($0, try folder.weights().tensor($0)) })
    let new = try Self.changed(folder)
    var long = request
    long.sampling.maxNewTokens = 400
    async let running = engine.generate(long)
    for (version, weights) in [("1", new), ("2", old), ("3", new)] {
      let count = try await engine.status().generatedTokens
      while try await engine.status().generatedTokens < count + 20 {
        try await Task.sleep(for: .milliseconds(1))
        try #require(try await engine.status().generatedTokens < 400)
      }
      try await UpdateWeightFromTensor(sources: [ShardSource(weights)], targets: [EngineTarget(engine)], bufferSize: 20_000)
        .update(version: version)
    }
    let output = try await running
    #expect(output.outputTokens.count == 400)
    let spans = output.weightVersions
    #expect(spans.map(\.version) == ["default", "1", "2", "3"])
    #expect(spans.first?.start == 0 && spans.last?.end == 400)
    for (span, next) in zip(spans, spans.dropFirst()) { #expect(span.end == next.start && span.start < span.end) }
    // The KV was computed again: a fresh request with the same tokens and weights gives the same log-probabilities.
    for span in spans {
      let isNew = ["1", "3"].contains(span.version)
      try await UpdateWeightFromTensor(
        sources: [ShardSource(isNew ? new : old)], targets: [EngineTarget(engine)], bufferSize: 1 << 20
      ).update(version: "again")
      var again = request
      again.tokens += output.outputTokens[..<span.end]
      again.sampling.maxNewTokens = 1
      again.logProbStart = request.tokens.count + span.start
      let found = try await engine.generate(again).inputLogProbs
      let expected = output.outputLogProbs[span.start..<span.end]
      for (found, expected) in zip(found.suffix(expected.count), expected) {
        #expect(abs(try #require(found.logProb) - expected.logProb!) < 1e-4)
      }
    }
  }

  private var request: GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens, sampling.ignoreEOS) = (0, 8, true)
    return GenerateRequest(
      id: UUID().uuidString, tokens: [5, 9, 33, 60, 12, 7], sampling: sampling, returnLogProbs: true, logProbStart: 0)
  }
}
