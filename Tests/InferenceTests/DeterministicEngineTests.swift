import Checkpoints
import Foundation
import Inference
import Parallelism
import TestSupport
import Testing
import Torch

/// In deterministic mode a request gets the same bits whatever else runs.
@Suite(.serialized) struct DeterministicEngineTests {
  /// How an engine cuts and mixes what it is asked.
  struct Conditions: Sendable, CustomTestStringConvertible {
    var running: Int
    var chunk: Int
    var page = 16
    var tokens: Int?
    var withoutRadixCache = false
    var testDescription: String {
      "\(running) running, chunks of \(chunk), pages of \(page), \(tokens.map { "\($0) tokens" } ?? "room for all"), "
        + (withoutRadixCache ? "no radix cache" : "radix cache")
    }

    func options(
      _ dtype: DType, tensor: Int = 1, isDeterministic: Bool = true, device: Device = .cpu
    ) -> EngineOptions {
      var options = EngineOptions(
        dtype: dtype, device: device, pageSize: page, maxTotalTokens: tokens, maxRunningRequests: running, chunkedPrefillSize: chunk,
        scheduleConservativeness: 0.1, disableRadixCache: withoutRadixCache)
      (options.tensorParallelSize, options.isDeterministic) = (tensor, isDeterministic)
      options.collectiveTimeout = .seconds(60)
      return options
    }
  }

  static let conditions = [
    Conditions(running: 1, chunk: 1), Conditions(running: 3, chunk: 5, page: 1), Conditions(running: 24, chunk: 2048, page: 3),
    Conditions(running: 24, chunk: 64, page: 2, tokens: 320), Conditions(running: 7, chunk: 33, page: 4, withoutRadixCache: true),
    Conditions(running: 24, chunk: 100, page: 2, tokens: 320, withoutRadixCache: true),
  ]

  /// Dense, experts with and without a shared one, latent attention; odd sizes of all kinds.
  static let models = [
    "qwen3-tied", "qwen2", "llama-biases-3-heads", "llama-head-dim-5-heads", "qwen3-moe", "qwen2-moe", "glm4-moe", "deepseek-v3",
    "deepseek-v3-no-query-rank",
  ]

  /// Requests that share beginnings, some longer than a block of attention.
  static func requests(_ count: Int, seed: UInt64, vocabulary: Int) -> [GenerateRequest] {
    var requests = randomRequests(count, seed: seed, vocabulary: vocabulary)
    var random = SeededGenerator(state: seed)
    let beginning = (0..<150).map { _ in Int.random(in: 3..<vocabulary, using: &random) }
    for i in requests.indices where i % 2 == 0 {
      requests[i].tokens = beginning.prefix([10, 64, 65, 128, 150].randomElement(using: &random)!) + requests[i].tokens
    }
    for i in requests.indices {
      requests[i].logProbStart = i % 3 == 0 ? 0 : nil
      // No pages are kept for what they may not need, so that they run out.
      requests[i].sampling.maxNewTokens = Int.random(in: 8...60, using: &random)
      requests[i].sampling.ignoreEOS = false
    }
    return requests
  }

  static func bits(_ output: GenerateOutput) -> [[UInt32?]] {
    func bits(_ logProbs: [TokenLogProb]) -> [UInt32?] { logProbs.flatMap { [UInt32($0.token), $0.logProb?.bitPattern] } }
    return [output.outputTokens.map { UInt32($0) }, bits(output.outputLogProbs), bits(output.inputLogProbs)]
      + (output.outputTopLogProbs + output.inputTopLogProbs + output.outputTokenIDsLogProbs + output.inputTokenIDsLogProbs).map(bits)
  }

  static func alone(_ folder: HuggingFaceFolder, _ requests: [GenerateRequest], _ options: EngineOptions) async throws -> [GenerateOutput] {
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    var outputs: [GenerateOutput] = []
    for request in requests {
      outputs.append(try await engine.generate(request))
      _ = await engine.flushCache()
    }
    return outputs
  }

  @Test(arguments: models.enumerated().map { ($1, $0 % 2 == 0 ? DType.float32 : .bfloat16) })
  func nothingElseMatters(_ model: String, dtype: DType) async throws {
    let folder = try modelFolder(model)
    let vocabulary = try ReferenceModel(folder).model.configuration.vocabularySize
    let requests = Self.requests(12, seed: 7, vocabulary: vocabulary)
    try await Self.expectNothingElseMatters(folder, requests, dtype, device: .cpu)
  }

  static func expectNothingElseMatters(
    _ folder: HuggingFaceFolder, _ requests: [GenerateRequest], _ dtype: DType, device: Device
  ) async throws {
    let wanted = try await alone(folder, requests, Conditions(running: 1, chunk: 2048).options(dtype, device: device))
    for conditions in conditions {
      let engine = try Engine(folder: folder, tokenizer: nil, options: conditions.options(dtype, device: device))
      // The second time prompts come from the cache.
      for round in 0..<2 {
        let found = try await generateAll(engine, requests)
        for (found, wanted) in zip(found, wanted) {
          let isEqual = bits(found) == bits(wanted)
          #expect(isEqual, "\(conditions), round \(round), \(found.id)")
        }
        if round == 1, !conditions.withoutRadixCache, conditions.tokens == nil {
          #expect(found.contains { $0.cachedTokens > 64 }, "nothing came from the cache")
        }
      }
      try await expectIdle(engine)
    }
  }

  /// What the test above finds without the mode.
  @Test func withoutTheModeNeighboursMatter() async throws {
    let folder = try modelFolder("qwen3-tied")
    let requests = Self.requests(24, seed: 7, vocabulary: 97)
    let wanted = try await Self.alone(
      folder, requests, Conditions(running: 1, chunk: 2048).options(.float32, isDeterministic: false))
    var differs = false
    for conditions in Self.conditions {
      let engine = try Engine(folder: folder, tokenizer: nil, options: conditions.options(.float32, isDeterministic: false))
      for (found, wanted) in zip(try await generateAll(engine, requests), wanted) where Self.bits(found) != Self.bits(wanted) {
        differs = true
      }
    }
    #expect(differs)
  }

  @Test(arguments: zip(["llama3-gqa", "qwen3-moe", "deepseek-v3"], [DType.float32, .bfloat16, .float32]))
  func norWithSeveralRanks(_ model: String, dtype: DType) async throws {
    let folder = try modelFolder(model)
    let vocabulary = try ReferenceModel(folder).model.configuration.vocabularySize
    let requests = Self.requests(12, seed: 9, vocabulary: vocabulary)
    let wanted = try await Self.alone(folder, requests, Conditions(running: 1, chunk: 2048).options(dtype, tensor: 2))
    for conditions in Self.conditions.suffix(3) {
      let engine = try Engine(folder: folder, tokenizer: nil, options: conditions.options(dtype, tensor: 2))
      for (found, wanted) in zip(try await generateAll(engine, requests), wanted) {
        #expect(Self.bits(found) == Self.bits(wanted), "\(conditions), \(found.id)")
      }
    }
  }

  /// A step that verifies drafts gives what a step a token would have given.
  @Test(arguments: ["qwen3-tied", "qwen3-moe"]) func norDoDrafts(_ model: String) async throws {
    let folder = try modelFolder(model)
    var requests = Self.requests(12, seed: 15, vocabulary: 61)
    // Greedy responses repeat themselves, and drafts prove right.
    for i in requests.indices {
      (requests[i].sampling.temperature, requests[i].sampling.maxNewTokens, requests[i].sampling.ignoreEOS) = (0, 40, true)
    }
    let conditions = Conditions(running: 12, chunk: 64)
    let wanted = try await Self.alone(folder, requests, conditions.options(.float32))
    var options = conditions.options(.float32)
    options.speculative = SpeculativeOptions(.ngram(NGramOptions()), draftTokens: 5)
    let found = try await generateAll(try Engine(folder: folder, tokenizer: nil, options: options), requests)
    for (found, wanted) in zip(found, wanted) { #expect(Self.bits(found) == Self.bits(wanted), "\(found.id)") }
  }

  /// Threads divide work, not sums.
  @Test func norDoThreads() async throws {
    let folder = try modelFolder("qwen3-moe")
    let requests = Self.requests(8, seed: 11, vocabulary: 61)
    var outputs: [[[[UInt32?]]]] = []
    let before = Runtime.threadCount
    defer { Runtime.threadCount = before }
    for threads in [1, 3] {
      Runtime.threadCount = threads
      let engine = try Engine(folder: folder, tokenizer: nil, options: Conditions(running: 8, chunk: 2048).options(.float32))
      outputs.append(try await generateAll(engine, requests).map(Self.bits))
    }
    #expect(outputs[0] == outputs[1])
  }

  /// The mode changes roundings alone.
  @Test(arguments: models) func answersAreThoseOfTheOrdinaryMode(_ model: String) async throws {
    let folder = try modelFolder(model)
    let reference = try ReferenceModel(folder)
    let requests = Self.requests(12, seed: 13, vocabulary: reference.model.configuration.vocabularySize)
    let engine = try Engine(folder: folder, tokenizer: nil, options: Conditions(running: 12, chunk: 64).options(.float32))
    for (request, output) in zip(requests, try await generateAll(engine, requests)) where request.logProbStart == 0 {
      let wanted = reference.logProbs(request.tokens)
      for (found, wanted) in zip(output.inputLogProbs.dropFirst(), wanted) { #expect(abs(found.logProb! - wanted) < 1e-4) }
    }
  }
}
