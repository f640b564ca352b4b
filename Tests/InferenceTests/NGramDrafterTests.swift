import Foundation
import Inference
import TestSupport
import Testing

/// Drafts from prompts, the response and other responses.
@Suite struct NGramDrafterTests {
  private static func engine(_ model: String, _ options: NGramOptions?, tensorParallelSize: Int = 1) throws -> Engine {
    var engine = EngineOptions(pageSize: 4, maxTotalTokens: 2048, chunkedPrefillSize: 128)
    if let options { engine.speculative = SpeculativeOptions(.ngram(options), draftTokens: 5) }
    (engine.tensorParallelSize, engine.collectiveTimeout) = (tensorParallelSize, .seconds(30))
    return try Engine(folder: modelFolder(model), tokenizer: nil, options: engine)
  }

  @Test(arguments: [
    ("qwen3-tied", 1), ("qwen3-moe", 1), ("deepseek-v3", 1), ("qwen3-tied", 2), ("qwen2-moe", 2),
  ] as [(String, Int)])
  func responsesAreThoseOfPlainDecoding(model: String, ranks: Int) async throws {
    let plain = try Self.engine(model, nil)
    let vocabulary = try await plain.status().vocabularySize
    let requests = SpeculativeEngineTests.requests(40, seed: 21, vocabulary: vocabulary, new: 60)
    let wanted = try await generateAll(plain, requests)
    let engine = try Self.engine(model, NGramOptions(), tensorParallelSize: ranks)
    for _ in 0..<2 {
      let outputs = try await generateAll(engine, requests)
      for (found, wanted) in zip(outputs, wanted) {
        #expect(found.outputTokens == wanted.outputTokens && found.finishReason == wanted.finishReason)
        for (one, other) in zip(found.outputLogProbs, wanted.outputLogProbs) {
          #expect(abs(one.logProb! - other.logProb!) < 1e-4)
        }
      }
      try await expectIdle(engine)
    }
    // The second time, most responses are known from the first.
    let counts = try #require(try await engine.status().speculation)
    #expect(counts.acceptRate > 0.2 && counts.correctDrafts > 100, "\(counts)")
  }

  @Test func othersAreLookedThroughOnlyWhereTheyMayBe() async throws {
    var first = GenerateRequest(id: "a", tokens: [9, 8, 7, 6, 5])
    (first.sampling.ignoreEOS, first.sampling.maxNewTokens, first.sampling.samplingSeed) = (true, 41, 3)
    var (again, salted) = (first, first)
    (again.id, salted.id, salted.cacheSalt) = ("b", "c", "x")
    let engine = try Self.engine("qwen3-tied", NGramOptions())
    let wanted = try await engine.generate(first)
    let foreign = try await engine.generate(salted)
    let known = try await engine.generate(again)
    #expect(known.outputTokens == wanted.outputTokens && foreign.outputTokens == wanted.outputTokens)
    // A token with the prompt, then 4 drafts and one more a step.
    #expect(known.speculation?.acceptRate == 1 && known.speculation?.verifications == 8)
    #expect(foreign.speculation == wanted.speculation && foreign.speculation?.acceptRate ?? 0 < 0.5)
    var own = NGramOptions()
    own.sharedCapacity = 0
    let alone = try Self.engine("qwen3-tied", own)
    for request in [first, again] { #expect(try await alone.generate(request).speculation == wanted.speculation) }
  }

  /// Steps with drafts note their weights like others.
  @Test func weightsMayChangeOnTheWay() async throws {
    let engine = try Self.engine("qwen3-tied", NGramOptions())
    var request = GenerateRequest(id: "a", tokens: [5, 6, 7, 8], returnLogProbs: true)
    (request.sampling.temperature, request.sampling.ignoreEOS, request.sampling.maxNewTokens) = (0, true, 300)
    var version = 0
    var last: GenerateOutput?
    for try await update in engine.stream(request) {
      last = update
      if version < 4, update.outputTokens.count > 20 * version {
        version += 1
        try await engine.beginWeightUpdate()
        try await engine.endWeightUpdate(version: "\(version)")
      }
    }
    let output = try #require(last)
    #expect(output.weightVersions.map(\.version) == ["default", "1", "2", "3", "4"])
    var end = 0
    for span in output.weightVersions {
      #expect(span.start == end && span.end > span.start)
      end = span.end
    }
    #expect(end == 300 && output.outputTokens.count == 300 && output.outputLogProbs.count == 300)
    #expect(output.speculation?.correctDrafts ?? 0 > 50)
    try await expectIdle(engine)
  }

  @Test func impossibleOptionsAreRefused() throws {
    func message(_ change: (inout SpeculativeOptions) -> Void) -> String {
      var options = EngineOptions(maxTotalTokens: 64)
      var speculative = SpeculativeOptions(.ngram(NGramOptions()))
      change(&speculative)
      options.speculative = speculative
      let error = #expect(throws: EngineError.self) {
        try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil, options: options)
      }
      return error?.description ?? ""
    }
    func ngram(_ change: (inout NGramOptions) -> Void) -> String {
      var options = NGramOptions()
      change(&options)
      return message { $0.algorithm = .ngram(options) }
    }
    #expect(message { $0.draftTokens = 1 }.contains("at least 2"))
    #expect(message { $0.steps = 0 }.contains("num-steps"))
    #expect(ngram { $0.shortestMatch = 0 }.contains("window") && ngram { $0.longestMatch = 0 }.contains("window"))
    #expect(ngram { $0.sharedCapacity = -1 }.contains("capacity"))
  }
}
