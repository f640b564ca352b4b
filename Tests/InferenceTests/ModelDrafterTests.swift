import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Tokenization
import Torch

/// Drafts of a second model.
@Suite struct ModelDrafterTests {
  private static func options(
    draft: String, page: Int = 4, tokens: Int? = 4096, running: Int = 16, chunk: Int = 256, ranks: Int = 1,
    draftTokens: Int = 4
  ) throws -> EngineOptions {
    var options = SpeculativeEngineTests.options(page: page, tokens: tokens, running: running, chunk: chunk)
    options.speculative = SpeculativeOptions(.standalone(try modelFolder(draft)), draftTokens: draftTokens)
    (options.tensorParallelSize, options.collectiveTimeout) = (ranks, .seconds(30))
    return options
  }

  @Test(arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3"])
  func aModelAgreesWithItself(_ model: String) async throws {
    let folder = try modelFolder(model)
    let plain = try Engine(folder: folder, tokenizer: nil)
    let vocabulary = try await plain.status().vocabularySize
    let requests = SpeculativeEngineTests.requests(30, seed: 31, vocabulary: vocabulary, routed: model != "qwen3-tied")
    let wanted = try await generateAll(plain, requests)
    for (page, chunk, draftTokens) in [(4, 256, 4), (1, 300, 2), (3, 30, 7)] {
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: Self.options(draft: model, page: page, chunk: chunk, draftTokens: draftTokens))
      // The second time, prompts are cached.
      for round in 0..<2 {
        SpeculativeEngineTests.expectSame(try await generateAll(engine, requests), wanted, "page \(page), round \(round)")
        try await expectIdle(engine)
      }
      let counts = try #require(try await engine.status().speculation)
      #expect(counts.acceptRate == 1 && counts.verifications > 30 && counts.acceptLength > 1.8, "\(counts)")
    }
  }

  @Test(arguments: [
    ("qwen3-tied", "llama2", 1), ("qwen3-moe", "deepseek-v3", 1), ("deepseek-v3", "glm4-moe", 1), ("qwen2", "qwen2", 2),
    ("qwen2-moe", "qwen3-moe", 2),
  ] as [(String, String, Int)])
  func anotherModelMayBeWrong(model: String, draft: String, ranks: Int) async throws {
    let plain = try Engine(folder: modelFolder(model), tokenizer: nil)
    let vocabulary = try await plain.status().vocabularySize
    let requests = SpeculativeEngineTests.requests(30, seed: 32, vocabulary: vocabulary)
    let wanted = try await generateAll(plain, requests)
    let engine = try Engine(folder: modelFolder(model), tokenizer: nil, options: Self.options(draft: draft, ranks: ranks))
    for (found, wanted) in zip(try await generateAll(engine, requests), wanted) {
      #expect(found.outputTokens == wanted.outputTokens && found.finishReason == wanted.finishReason)
      for (one, other) in zip(found.outputLogProbs, wanted.outputLogProbs) {
        #expect(abs(one.logProb! - other.logProb!) < 1e-4)
      }
    }
    try await expectIdle(engine)
    let counts = try #require(try await engine.status().speculation)
    #expect(draft == model ? counts.acceptRate == 1 : counts.acceptRate < 0.9 && counts.correctDrafts > 0, "\(counts)")
  }

  @Test(arguments: ["qwen3-tied", "qwen2"]) func fullCachesDoNotMatter(_ draft: String) async throws {
    var requests = SpeculativeEngineTests.requests(24, seed: 33, vocabulary: 97)
    for i in requests.indices {
      (requests[i].sampling.maxNewTokens, requests[i].sampling.minNewTokens, requests[i].sampling.ignoreEOS) = (50, 45, false)
    }
    let wanted = try await generateAll(Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil), requests)
    for (page, tokens) in [(1, 90), (4, 120)] {
      let engine = try Engine(
        folder: modelFolder("qwen3-tied"), tokenizer: nil,
        options: Self.options(draft: draft, page: page, tokens: tokens))
      let outputs = try await generateAll(engine, requests)
      #expect(outputs.contains { $0.retractions > 0 })
      SpeculativeEngineTests.expectSame(outputs, wanted, "page \(page)")
      try await expectIdle(engine)
      let counts = try #require(try await engine.status().speculation)
      #expect(draft == "qwen2" || counts.acceptRate == 1 && counts.acceptLength > 1.8, "\(counts)")
    }
  }

  @Test func grammarsBindDraftsToo() async throws {
    try await GrammarTests.withEngine { plain, tokenizer, folder in
      var requests = SpeculativeEngineTests.requests(30, seed: 34, vocabulary: 400)
      for i in requests.indices where i % 3 != 0 {
        (requests[i].sampling.regex, requests[i].sampling.maxNewTokens) = ("(yes|no|maybe)( [0-9]{1,3}){2,4}", 80)
      }
      var options = SpeculativeEngineTests.options()
      options.speculative = SpeculativeOptions(.standalone(folder), draftTokens: 5)
      let engine = try Engine(folder: folder, tokenizer: tokenizer, options: options)
      SpeculativeEngineTests.expectSame(
        try await generateAll(engine, requests), try await generateAll(plain, requests), "grammars")
      #expect(try await engine.status().speculation?.acceptRate == 1)
      try await expectIdle(engine)
    }
  }

  /// Samples of one prompt, while they are aborted, paused and their cache and memory are taken.
  @Test func disturbancesDoNotMatter() async throws {
    let folder = try modelFolder("qwen3-tied")
    let requests = (0..<24).map { i in
      var request = GenerateRequest(id: "r\(i)", tokens: Array(3..<40))
      (request.sampling.maxNewTokens, request.sampling.ignoreEOS, request.sampling.samplingSeed) = (60, true, i)
      return request
    }
    let wanted = try await generateAll(Engine(folder: folder, tokenizer: nil), requests)
    let engine = try Engine(folder: folder, tokenizer: nil, options: Self.options(draft: "qwen3-tied", tokens: 700))
    try await expectUndisturbed(engine, requests, wanted)
    try await expectIdle(engine)
    #expect(try await engine.status().speculation?.acceptRate == 1)
  }

  /// New weights of the model leave the draft model as it is.
  @Test func theModelMayChange() async throws {
    let folder = try modelFolder("qwen3-tied")
    let engine = try Engine(folder: folder, tokenizer: nil, options: Self.options(draft: "qwen3-tied"))
    let plain = try Engine(folder: folder, tokenizer: nil)
    let requests = SpeculativeEngineTests.requests(10, seed: 35, vocabulary: 97)
    for version in ["1", "2"] {
      for one in [engine, plain] {
        let files = try folder.weights()
        let tensors = try files.names.map { name in
          let tensor = try files.tensor(name).flip([0]).contiguous()
          return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
        }
        try await one.beginWeightUpdate()
        try await one.updateWeights(tensors)
        try await one.endWeightUpdate(version: version)
      }
      SpeculativeEngineTests.expectSame(
        try await generateAll(engine, requests), try await generateAll(plain, requests), "version \(version)")
    }
    #expect(try await engine.status().speculation?.acceptRate ?? 1 < 0.9)
    try await expectIdle(engine)
  }

  @Test func draftsEndWithTheDraftModelsContext() async throws {
    // Its context ends after 128 tokens.
    let engine = try Engine(
      folder: modelFolder("qwen3-tied"), tokenizer: nil, options: Self.options(draft: "qwen25-yarn"))
    let plain = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    var request = GenerateRequest(id: "a", tokens: (0..<114).map { 3 + $0 % 50 })
    (request.sampling.maxNewTokens, request.sampling.ignoreEOS) = (40, true)
    request.sampling.temperature = 0
    let output = try await engine.generate(request)
    #expect(try await plain.generate(request).outputTokens == output.outputTokens)
    #expect((1...13).contains(output.speculation?.verifications ?? 0))
    request.tokens += Array(3..<20)
    #expect(try await engine.generate(request).speculation == nil)
    try await expectIdle(engine)
  }

  @Test func otherVocabulariesAreRefused() throws {
    let error = #expect(throws: EngineError.self) {
      try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil, options: Self.options(draft: "qwen3-moe"))
    }
    #expect(error?.description.contains("a vocabulary of 61 tokens, and the model one of 97") == true)
  }
}
