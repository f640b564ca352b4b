import Checkpoints
import Foundation
import Inference
import Synchronization
import TestSupport
import Testing
import Torch

/// An adapter of Tests/Fixtures/lora, and what transformers computes with it merged into its model.
struct AdapterFixture {
  let name: String
  let folder: URL
  let sequences: [[Int]]
  /// Of each sequence's tokens but the first.
  let logProbs: [[Float]]
  /// What each sequence goes on with at temperature 0.
  let greedy: [[Int]]

  static let models = [
    "llama3-gqa-all": "llama3-gqa", "llama3-gqa-queries": "llama3-gqa", "llama3-gqa-last-layer": "llama3-gqa",
    "qwen2-attention": "qwen2", "deepseek-v3-latent": "deepseek-v3",
  ]
  static let ofLlama = ["llama3-gqa-all", "llama3-gqa-queries", "llama3-gqa-last-layer"]
  var model: String { Self.models[name]! }

  init(_ name: String) throws {
    self.name = name
    folder = fixture("lora/\(name)")
    let reference = try SafetensorsFile(folder.appendingPathComponent("reference.safetensors"))
    let tokens: [Int] = try reference.tensor("tokens").array()
    let ends: [Int] = try reference.tensor("cu_seqlens").array()
    let all: [Float] = try reference.tensor("log_probs").array()
    let ranges = zip(ends, ends.dropFirst()).map { $0..<$1 }
    sequences = ranges.map { Array(tokens[$0]) }
    logProbs = ranges.enumerated().map { Array(all[$1.lowerBound - $0..<$1.upperBound - $0 - 1]) }
    let rows: [Int] = try reference.tensor("greedy").array()
    let count = rows.count / ranges.count
    greedy = ranges.indices.map { Array(rows[$0 * count..<($0 + 1) * count]) }
  }

  /// The sequences, to be continued at temperature 0 with the adapter.
  func requests() -> [GenerateRequest] {
    sequences.indices.map { i in
      var sampling = SamplingParameters()
      (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, greedy[i].count)
      return GenerateRequest(
        id: "\(name)-\(i)", tokens: sequences[i], sampling: sampling, returnLogProbs: true, logProbStart: 0, adapter: name)
    }
  }

  func check(_ outputs: [GenerateOutput], _ note: String = "") {
    for (i, output) in outputs.enumerated() {
      #expect(output.outputTokens == greedy[i], "\(name) \(note)")
      for (found, wanted) in zip(output.inputLogProbs.dropFirst(), logProbs[i]) {
        #expect(abs(found.logProb! - wanted) < 1e-4, "\(name) \(note)")
      }
      #expect(output.inputLogProbs.count == sequences[i].count)
    }
  }
}

func adapterEngine(
  _ model: String, _ names: [String], maxPerBatch: Int = 8, tensor: Int = 1, _ change: (inout EngineOptions) -> Void = { _ in }
) async throws -> Engine {
  var options = EngineOptions(pageSize: 4, maxTotalTokens: 1024, maxRunningRequests: 16, chunkedPrefillSize: 24, randomSeed: 3)
  (options.tensorParallelSize, options.collectiveTimeout) = (tensor, .seconds(30))
  options.adapters = AdapterOptions(maxPerBatch: maxPerBatch)
  change(&options)
  let engine = try Engine(folder: modelFolder(model), tokenizer: nil, options: options)
  for name in names { try await engine.loadAdapter(name, from: fixture("lora/\(name)")) }
  return engine
}

/// Requests of all kinds, a quarter each of the model alone and of three adapters.
func mixedRequests(_ count: Int, seed: UInt64) -> [GenerateRequest] {
  var requests = randomRequests(count, seed: seed, vocabulary: 128)
  for i in requests.indices where i % 4 > 0 { requests[i].adapter = AdapterFixture.ofLlama[i % 4 - 1] }
  return requests
}

func expectAlike(_ found: [GenerateOutput], _ wanted: [GenerateOutput], _ note: String) {
  #expect(found.count == wanted.count)
  for (found, wanted) in zip(found, wanted) {
    #expect(found.outputTokens == wanted.outputTokens && found.finishReason == wanted.finishReason, "\(note), \(wanted.id)")
    let pairs = zip(found.inputLogProbs + found.outputLogProbs, wanted.inputLogProbs + wanted.outputLogProbs)
    for (found, wanted) in pairs {
      #expect(found.token == wanted.token && abs((found.logProb ?? 0) - (wanted.logProb ?? 0)) < 1e-4, "\(note)")
    }
  }
}

/// Requests with adapters against transformers, against themselves alone, and against engines of several ranks.
@Suite struct AdapterParityTests {
  @Test(arguments: AdapterFixture.models.keys.sorted(), [1, 2])
  func answersAreThoseOfTheMergedModel(_ name: String, ranks: Int) async throws {
    let adapter = try AdapterFixture(name)
    let engine = try await adapterEngine(adapter.model, [name], tensor: ranks)
    adapter.check(try await generateAll(engine, adapter.requests()), "with \(ranks) ranks")
    try await expectIdle(engine)
  }

  /// Every request beside those of other adapters, and all by themselves.
  @Test(arguments: [1, 2, 4])
  func aMixedBatchGivesEachItsOwn(ranks: Int) async throws {
    let widest = Mutex(0)
    let engine = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama, tensor: ranks) { options in
      options.onPlan = { plan in
        let count = Set(plan.items.map(\.adapter)).count
        widest.withLock { $0 = max($0, count) }
      }
    }
    let alone = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama)
    let requests = mixedRequests(24, seed: 9)
    var wanted: [GenerateOutput] = []
    for request in requests { wanted.append(try await alone.generate(request)) }
    expectAlike(try await generateAll(engine, requests), wanted, "mixed with \(ranks) ranks")
    #expect(widest.withLock { $0 } == 4, "the batches were not mixed")
    // Adapters move outputs, so that a mix-up would show.
    var plain = requests
    for i in plain.indices { plain[i].adapter = nil }
    let without = try await generateAll(alone, plain)
    #expect(zip(without, wanted).count { $0.outputTokens != $1.outputTokens } > 9)
    for name in AdapterFixture.ofLlama {
      let adapter = try AdapterFixture(name)
      adapter.check(try await generateAll(engine, adapter.requests()), "after others")
    }
    try await expectIdle(engine)
  }

  /// More adapters than a batch may have: they take turns, and those on the device change.
  @Test(arguments: [1, 2])
  func adaptersTakeTurns(maxPerBatch: Int) async throws {
    let most = Mutex(0)
    let engine = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama, maxPerBatch: maxPerBatch) { options in
      options.onPlan = { plan in
        let count = Set(plan.items.compactMap(\.adapter)).count
        most.withLock { $0 = max($0, count) }
      }
    }
    let free = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama)
    let requests = mixedRequests(40, seed: 4)
    expectAlike(
      try await generateAll(engine, requests), try await generateAll(free, requests), "at most \(maxPerBatch) in a batch")
    #expect(most.withLock { $0 } == maxPerBatch)
    try await expectIdle(engine)
  }

  /// What is drafted is verified with the adapter.
  @Test func draftsDoNotChangeAnything() async throws {
    let plain = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama)
    let drafting = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama) { options in
      options.speculative = SpeculativeOptions(.ngram(NGramOptions()), draftTokens: 4)
    }
    var requests = mixedRequests(24, seed: 2)
    for i in requests.indices { requests[i].sampling.maxNewTokens = 32 }
    expectAlike(try await generateAll(drafting, requests), try await generateAll(plain, requests), "with drafts")
    #expect(try #require(try await drafting.status().speculation).proposedDrafts > 0)
    try await expectIdle(drafting)
  }

  /// The next batch is planned while one with adapters runs.
  @Test func overlappingBatchesKeepTheirAdapters() async throws {
    let plain = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama)
    let overlapping = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama) { $0.overlapsSchedule = true }
    let requests = mixedRequests(32, seed: 6)
    expectAlike(try await generateAll(overlapping, requests), try await generateAll(plain, requests), "overlapping")
    try await expectIdle(overlapping)
  }
}
