import Checkpoints
import Foundation
import Inference
import JSON
import Models
import TestSupport
import Testing
import Tokenization
import Torch

/// An engine that drafts against one that does not.
@Suite struct SpeculativeEngineTests {
  static func options(
    page: Int = 4, tokens: Int? = nil, running: Int = 16, chunk: Int = 256, draftTokens: Int? = nil,
    drafter: (@Sendable () -> any Drafter)? = nil
  ) -> EngineOptions {
    var options = EngineOptions(
      pageSize: page, maxTotalTokens: tokens, maxRunningRequests: running, chunkedPrefillSize: chunk,
      scheduleConservativeness: 0.1)
    if let draftTokens { options.speculative = SpeculativeOptions(.ngram(NGramOptions()), draftTokens: draftTokens) }
    options.makeDrafter = drafter
    return options
  }

  /// Greedy and seeded, with everything that changes logits.
  static func requests(_ count: Int, seed: UInt64, vocabulary: Int, new: Int = 24, routed: Bool = false) -> [GenerateRequest] {
    var random = SeededGenerator(state: seed)
    var requests = randomRequests(count, seed: seed, vocabulary: vocabulary, longestPrompt: 20)
    for i in requests.indices {
      requests[i].sampling.maxNewTokens = Int.random(in: 1...new, using: &random)
      requests[i].sampling.minNewTokens = i % 3 == 0 ? min(5, requests[i].sampling.maxNewTokens!) : 0
      if i % 4 == 1 { requests[i].sampling.frequencyPenalty = 0.7 }
      if i % 4 == 2 { requests[i].sampling.presencePenalty = -0.4 }
      if i % 5 == 2 { requests[i].sampling.minP = 0.05 }
      if i % 3 == 1 {
        let tokens = (0..<4).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
        requests[i].sampling.logitBias = Dictionary(tokens.map { ($0, 3) }) { $1 }
        requests[i].sampling.stopTokenIDs = [tokens[0]]
      }
      if routed, i % 2 == 0 { requests[i].routedExpertsStart = requests[i].tokens.count / 2 }
    }
    return requests
  }

  static func expectSame(_ found: [GenerateOutput], _ wanted: [GenerateOutput], _ note: String) {
    for (found, wanted) in zip(found, wanted) {
      EngineInvarianceTests.expectSame(found, wanted, note)
      #expect(found.text == wanted.text && found.routedExperts == wanted.routedExperts, "\(note), \(found.id)")
      #expect(found.outputLogProbs.map(\.token) == wanted.outputLogProbs.map(\.token), "\(note), \(found.id)")
    }
  }

  @Test(arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3"], ScriptedDrafter.Manner.allCases)
  func responsesAreThoseOfPlainDecoding(_ model: String, _ manner: ScriptedDrafter.Manner) async throws {
    let folder = try modelFolder(model)
    let plain = try Engine(folder: folder, tokenizer: nil, options: Self.options())
    let vocabulary = try await plain.status().vocabularySize
    let requests = Self.requests(40, seed: 11, vocabulary: vocabulary, routed: model != "qwen3-tied")
    let wanted = try await generateAll(plain, requests)
    #expect(try await plain.status().speculation == nil && wanted.allSatisfy { $0.speculation == nil })
    let accepted = AcceptedCounts()
    for (page, running, chunk, draftTokens) in [(4, 16, 256, 4), (1, 40, 200, 8), (3, 5, 9, 2)] {
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: Self.options(page: page, running: running, chunk: chunk, draftTokens: draftTokens) {
          ScriptedDrafter(manner, wanted, vocabulary: vocabulary, accepted: accepted)
        })
      let outputs = try await generateAll(engine, requests)
      Self.expectSame(outputs, wanted, "\(manner), page \(page)")
      try await expectIdle(engine)
      let counts = try #require(try await engine.status().speculation)
      let sums = outputs.reduce(into: [0, 0, 0]) {
        $0[0] += $1.speculation?.verifications ?? 0
        $0[1] += $1.speculation?.proposedDrafts ?? 0
        $0[2] += $1.speculation?.correctDrafts ?? 0
      }
      #expect(sums == [counts.verifications, counts.proposedDrafts, counts.correctDrafts] && counts.verifications > 20)
      switch manner {
      case .right: #expect(counts.acceptRate == 1 && counts.acceptLength > 1.5)
      case .wrong: #expect(counts.acceptRate == 0 && counts.acceptLength == 1)
      case .random: #expect(counts.acceptRate < 0.5)
      case .mixed: #expect(counts.acceptRate > 0.2 && counts.acceptRate < 0.9)
      }
    }
    if manner == .mixed { for count in 0...5 { #expect(accepted[count] > 0, "\(count) drafts were never right") } }
  }

  @Test(arguments: ScriptedDrafter.Manner.allCases)
  func retractionsDoNotMatter(_ manner: ScriptedDrafter.Manner) async throws {
    let folder = try modelFolder("qwen3-tied")
    var requests = Self.requests(24, seed: 12, vocabulary: 97)
    for i in requests.indices {
      // Room is reserved only for what requests are expected to use.
      (requests[i].sampling.maxNewTokens, requests[i].sampling.minNewTokens, requests[i].sampling.ignoreEOS) = (50, 45, false)
    }
    let wanted = try await generateAll(Engine(folder: folder, tokenizer: nil, options: Self.options()), requests)
    for (page, tokens) in [(1, 90), (4, 120)] {
      let engine = try Engine(
        folder: folder, tokenizer: nil, options: Self.options(page: page, tokens: tokens, draftTokens: 5) {
          ScriptedDrafter(manner, wanted, vocabulary: 97)
        })
      let outputs = try await generateAll(engine, requests)
      #expect(outputs.contains { $0.retractions > 0 })
      Self.expectSame(outputs, wanted, "\(manner), page \(page)")
      try await expectIdle(engine)
    }
  }

  /// Stop strings, grammars and text.
  @Test(arguments: ScriptedDrafter.Manner.allCases)
  func textsEndWhereTheyShould(_ manner: ScriptedDrafter.Manner) async throws {
    try await GrammarTests.withEngine { plain, tokenizer, folder in
      var requests = Self.requests(60, seed: 13, vocabulary: 400, new: 40)
      for i in requests.indices { requests[i].sampling.skipSpecialTokens = i % 2 == 0 }
      let free = try await generateAll(plain, requests)
      for i in requests.indices {
        switch i % 4 {
        case 0:
          let text = Array(free[i].text)
          guard text.count > 4 else { continue }
          requests[i].sampling.stop = [String(text[text.count / 2...text.count / 2 + 1]), "never"]
          requests[i].sampling.noStopTrim = i % 8 == 0
        case 1: (requests[i].sampling.regex, requests[i].sampling.maxNewTokens) = ("(yes|no|maybe)( [0-9]{1,3}){2,4}", 80)
        case 2: requests[i].sampling.ebnf = "root ::= item (\", \" item){2,5}\nitem ::= [a-f]{1,3} | \"(\" [0-9] \")\""
        default: break
        }
      }
      let wanted = try await generateAll(plain, requests)
      #expect(wanted.contains { if case .stopString = $0.finishReason { true } else { false } })
      let engine = try Engine(
        folder: folder, tokenizer: tokenizer, options: Self.options(page: 2, draftTokens: 6) {
          ScriptedDrafter(manner, wanted, vocabulary: 416)
        })
      Self.expectSame(try await generateAll(engine, requests), wanted, "\(manner)")
      try await expectIdle(engine)
    }
  }

  @Test func arrivalsAbortsAndPausesDoNotMatter() async throws {
    let folder = try modelFolder("qwen3-tied")
    let requests = Self.requests(40, seed: 14, vocabulary: 97, new: 60)
    let wanted = try await generateAll(Engine(folder: folder, tokenizer: nil, options: Self.options()), requests)
    let engine = try Engine(
      folder: folder, tokenizer: nil, options: Self.options(page: 2, tokens: 300, draftTokens: 4) {
        ScriptedDrafter(.mixed, wanted, vocabulary: 97)
      })
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for i in 0..<20 {
          try await engine.pause(i % 2 == 0 ? .inPlace : .retract)
          try await engine.resume()
          await engine.abort("r\(i)")
        }
      }
      for (i, (request, wanted)) in zip(requests, wanted).enumerated() {
        group.addTask {
          var last: GenerateOutput?
          for try await update in engine.stream(request) {
            #expect(wanted.outputTokens.starts(with: update.outputTokens))
            #expect(update.outputLogProbs.count == update.outputTokens.count)
            last = update
            if i % 7 == 6, update.outputTokens.count > 3 { return }
          }
          if let last, last.finishReason != .abort("Aborted") { Self.expectSame([last], [wanted], "") }
        }
      }
      try await group.waitForAll()
    }
    await engine.abort(nil)
    try await expectIdle(engine)
  }

  @Test func countsAreExact() async throws {
    let folder = try modelFolder("qwen3-tied")
    var request = GenerateRequest(id: "a", tokens: [5, 6, 7])
    (request.sampling.temperature, request.sampling.ignoreEOS, request.sampling.maxNewTokens) = (0, true, 10)
    let wanted = try await Engine(folder: folder, tokenizer: nil).generate(request)
    // One token with the prompt; then 3 drafts and one more, twice; the tenth has no draft that could be of use.
    for (manner, counts) in [(ScriptedDrafter.Manner.right, [2, 6, 6]), (.wrong, [8, 21, 0])] {
      let engine = try Engine(
        folder: folder, tokenizer: nil,
        options: Self.options(draftTokens: 4) { ScriptedDrafter(manner, [wanted], vocabulary: 97) })
      let output = try await engine.generate(request)
      let found = try #require(output.speculation)
      #expect([found.verifications, found.proposedDrafts, found.correctDrafts] == counts)
      #expect(found.acceptRate == (manner == .right ? 1 : 0) && found.acceptLength == (manner == .right ? 4 : 1))
      #expect(try await engine.status().speculation == found)
      #expect(try await engine.status().generatedTokens == 10)
    }
  }

  /// Responses of three tokens from a vocabulary of five follow the model's distribution over all 125.
  @Test(arguments: [ScriptedDrafter.Manner.random, .mixed])
  func samplesFollowTheDistribution(_ manner: ScriptedDrafter.Manner) async throws {
    try await Self.withModel(vocabulary: 5) { folder in
      let counts = try await Self.drawn(6000, folder, isRandom: manner == .random)
      let chiSquare = try Self.chiSquare(counts, 6000, folder)
      // 0.9999 quantile for 124 degrees of freedom.
      #expect(chiSquare < 190, "chi-square \(chiSquare)")
    }
  }

  private static let smallPrompt = [1, 4, 2]

  /// How often each response was drawn.
  private static func drawn(_ count: Int, _ folder: HuggingFaceFolder, isRandom: Bool) async throws -> [[Int]: Int] {
    func requests(firstSeed: Int) -> [GenerateRequest] {
      (0..<count).map { i in
        var request = GenerateRequest(id: "\(i)", tokens: smallPrompt)
        (request.sampling.maxNewTokens, request.sampling.ignoreEOS, request.sampling.samplingSeed) = (3, true, firstSeed + i)
        request.sampling.temperature = 1.3
        return request
      }
    }
    // What another seed drew is right with the probability that two draws are alike.
    let others = try await generateAll(Engine(folder: folder, tokenizer: nil), requests(firstSeed: count)).map(\.outputTokens)
    let engine = try Engine(
      folder: folder, tokenizer: nil,
      options: options(running: 256, chunk: 1024, draftTokens: 3) { FixedDrafter(others, isRandom: isRandom) })
    let outputs = try await generateAll(engine, requests(firstSeed: 0))
    let speculation = try #require(try await engine.status().speculation)
    #expect(speculation.acceptRate > 0.1 && speculation.acceptRate < 0.6 && speculation.verifications > count / 2)
    return outputs.reduce(into: [:]) { $0[$1.outputTokens, default: 0] += 1 }
  }

  private static func chiSquare(_ counts: [[Int]: Int], _ total: Int, _ folder: HuggingFaceFolder) throws -> Double {
    let reference = try ReferenceModel(folder)
    var chiSquare = 0.0
    for code in 0..<125 {
      let response = [code / 25, code / 5 % 5, code % 5]
      let logProbs = reference.logProbs(smallPrompt + response, temperature: 1.3).suffix(3)
      let expected = Double(total) * exp(Double(logProbs.reduce(0, +)))
      let difference = Double(counts[response, default: 0]) - expected
      chiSquare += difference * difference / expected
    }
    return chiSquare
  }

  /// A model of this vocabulary with random weights.
  static func withModel(vocabulary: Int, _ body: (HuggingFaceFolder) async throws -> Void) async throws {
    guard case .object(var config) = try modelFolder("qwen3-tied").config else { return }
    (config["vocab_size"], config["initializer_range"]) = (.int(vocabulary), 0.2)
    for name in ["eos_token_id", "bos_token_id", "pad_token_id"] { config[name] = nil }
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: url) }
    try writeRandomModel(.object(config), to: url, seed: 3)
    try await body(HuggingFaceFolder(url))
  }
}

/// Drafts given responses, or random ones, to requests that are numbered.
private final class FixedDrafter: Drafter {
  private let responses: [[Int]]
  private let isRandom: Bool
  private var random = SeededGenerator(state: 7)

  init(_ responses: [[Int]], isRandom: Bool) { (self.responses, self.isRandom) = (responses, isRandom) }

  func draft(_ requests: [DraftRequest]) -> [DraftTree] {
    requests.map { request in
      let rest = responses[Int(request.id)!].dropFirst(request.tokens.count - request.promptCount)
      return DraftTree(chain: isRandom ? rest.map { _ in Int.random(in: 0..<5, using: &random) } : Array(rest))
    }
  }

  func end(_ id: String, tokens: [Int], promptCount: Int, in namespace: CacheNamespace) {}
}
