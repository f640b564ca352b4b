import Checkpoints
import Foundation
import Inference
import TestSupport
import Testing
import Torch

/// An engine that verifies trees of drafts against one that does not draft.
@Suite struct TreeEngineTests {
  @Test(
    arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3", "llama3-gqa", "mistral-window", "gemma2", "gpt-oss"],
    ScriptedDrafter.Manner.allCases)
  func responsesAreThoseOfPlainDecoding(_ model: String, _ manner: ScriptedDrafter.Manner) async throws {
    let folder = try modelFolder(model)
    let plain = try Engine(folder: folder, tokenizer: nil)
    let vocabulary = try await plain.status().vocabularySize
    let hasExperts = model == "qwen3-moe" || model == "deepseek-v3"
    let requests = SpeculativeEngineTests.requests(40, seed: 21, vocabulary: vocabulary, routed: hasExperts)
    let wanted = try await generateAll(plain, requests)
    for (page, running, chunk, draftTokens) in [(4, 16, 256, 8), (1, 40, 300, 20), (3, 5, 16, 4)] {
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: SpeculativeEngineTests.options(page: page, running: running, chunk: chunk, draftTokens: draftTokens) {
          ScriptedDrafter(manner, wanted, vocabulary: vocabulary, seed: UInt64(page), branches: true)
        })
      SpeculativeEngineTests.expectSame(try await generateAll(engine, requests), wanted, "\(manner), page \(page)")
      try await expectIdle(engine)
      let counts = try #require(try await engine.status().speculation)
      #expect(counts.verifications > 20 && counts.proposedDrafts > counts.verifications)
      #expect(manner != .right || counts.acceptLength > 1.5, "\(counts)")
    }
  }

  @Test(arguments: ScriptedDrafter.Manner.allCases)
  func retractionsDoNotMatter(_ manner: ScriptedDrafter.Manner) async throws {
    let folder = try modelFolder("qwen3-tied")
    var requests = SpeculativeEngineTests.requests(24, seed: 22, vocabulary: 97)
    for i in requests.indices {
      (requests[i].sampling.maxNewTokens, requests[i].sampling.minNewTokens, requests[i].sampling.ignoreEOS) = (50, 45, false)
    }
    let wanted = try await generateAll(Engine(folder: folder, tokenizer: nil), requests)
    for (page, tokens) in [(1, 90), (4, 120)] {
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: SpeculativeEngineTests.options(page: page, tokens: tokens, draftTokens: 7) {
          ScriptedDrafter(manner, wanted, vocabulary: 97, branches: true)
        })
      let outputs = try await generateAll(engine, requests)
      #expect(outputs.contains { $0.retractions > 0 })
      SpeculativeEngineTests.expectSame(outputs, wanted, "\(manner), page \(page)")
      try await expectIdle(engine)
    }
  }

  @Test(arguments: ScriptedDrafter.Manner.allCases)
  func grammarsAndStopsBindTrees(_ manner: ScriptedDrafter.Manner) async throws {
    try await GrammarTests.withEngine { plain, tokenizer, folder in
      var requests = SpeculativeEngineTests.requests(40, seed: 23, vocabulary: 400, new: 40)
      let free = try await generateAll(plain, requests)
      for i in requests.indices {
        switch i % 3 {
        case 0:
          let text = Array(free[i].text)
          guard text.count > 4 else { continue }
          requests[i].sampling.stop = [String(text[text.count / 2...text.count / 2 + 1])]
        case 1: (requests[i].sampling.regex, requests[i].sampling.maxNewTokens) = ("(yes|no|maybe)( [0-9]{1,3}){2,4}", 80)
        default: break
        }
      }
      let wanted = try await generateAll(plain, requests)
      let engine = try Engine(
        folder: folder, tokenizer: tokenizer,
        options: SpeculativeEngineTests.options(page: 2, draftTokens: 9) {
          ScriptedDrafter(manner, wanted, vocabulary: 416, branches: true)
        })
      SpeculativeEngineTests.expectSame(try await generateAll(engine, requests), wanted, "\(manner)")
      try await expectIdle(engine)
    }
  }

  /// Responses of four tokens from a vocabulary of three follow the model's distribution over all 81.
  @Test func samplesFollowTheDistribution() async throws {
    try await SpeculativeEngineTests.withModel(vocabulary: 3) { folder in
      let (count, prompt) = (6000, [1, 0, 2])
      let requests = (0..<count).map { i in
        var request = GenerateRequest(id: "\(i)", tokens: prompt)
        (request.sampling.maxNewTokens, request.sampling.ignoreEOS, request.sampling.samplingSeed) = (4, true, i)
        request.sampling.temperature = 1.3
        return request
      }
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: SpeculativeEngineTests.options(running: 256, chunk: 4096, draftTokens: 7) { RandomTrees(vocabulary: 3) })
      let drawn = try await generateAll(engine, requests).reduce(into: [[Int]: Int]()) { $0[$1.outputTokens, default: 0] += 1 }
      let speculation = try #require(try await engine.status().speculation)
      #expect(speculation.verifications > count / 2 && speculation.correctDrafts > count / 4)
      let reference = try ReferenceModel(folder)
      var chiSquare = 0.0
      for code in 0..<81 {
        let response = [code / 27, code / 9 % 3, code / 3 % 3, code % 3]
        let logProbs = reference.logProbs(prompt + response, temperature: 1.3).suffix(4)
        let expected = Double(count) * exp(Double(logProbs.reduce(0, +)))
        let difference = Double(drawn[response, default: 0]) - expected
        chiSquare += difference * difference / expected
      }
      // 0.9999 quantile for 80 degrees of freedom.
      #expect(chiSquare < 136, "chi-square \(chiSquare)")
    }
  }

  /// Two ranks move what they hold of right drafts alike.
  @Test(arguments: ["qwen2", "deepseek-v3"]) func severalRanksAgree(_ model: String) async throws {
    let folder = try modelFolder(model)
    let plain = try Engine(folder: folder, tokenizer: nil)
    let vocabulary = try await plain.status().vocabularySize
    let requests = SpeculativeEngineTests.requests(20, seed: 24, vocabulary: vocabulary)
    let wanted = try await generateAll(plain, requests)
    var options = SpeculativeEngineTests.options(page: 3, draftTokens: 8) {
      ScriptedDrafter(.right, wanted, vocabulary: vocabulary, branches: true)
    }
    (options.tensorParallelSize, options.collectiveTimeout) = (2, .seconds(30))
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    for (found, wanted) in zip(try await generateAll(engine, requests), wanted) {
      #expect(found.outputTokens == wanted.outputTokens && found.finishReason == wanted.finishReason)
    }
    try await expectIdle(engine)
  }
}

/// Drafts trees of any tokens.
private final class RandomTrees: Drafter {
  private let vocabulary: Int
  private var random = SeededGenerator(state: 7)

  init(vocabulary: Int) { self.vocabulary = vocabulary }

  func draft(_ requests: [DraftRequest]) -> [DraftTree] {
    requests.map { _ in
      var tree = DraftTree()
      for _ in 0..<9 {
        let (parent, token) = (Int.random(in: -1..<tree.count, using: &random), Int.random(in: 0..<vocabulary, using: &random))
        if tree.child(of: parent, token: token) == nil { tree.add(token, after: parent) }
      }
      return tree
    }
  }

  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {}
}
