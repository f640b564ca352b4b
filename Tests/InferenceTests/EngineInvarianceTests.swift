import Inference
import TestSupport
import Testing

/// What a request gets does not depend on what runs beside it or on how its prompt and the cache are cut.
@Suite struct EngineInvarianceTests {
  /// - Parameter tolerance: states that go along a sequence in other steps round differently at each.
  static func expectSame(
    _ found: GenerateOutput, _ wanted: GenerateOutput, _ note: String, tolerance: Double = 5e-5
  ) {
    #expect(found.outputTokens == wanted.outputTokens, "\(note), \(found.id)")
    #expect(found.finishReason == wanted.finishReason, "\(note), \(found.id)")
    // Products of other sizes, and attention of one token or of several, round differently, by some units in the last place of
    // the logits.
    func close(_ a: [TokenLogProb], _ b: [TokenLogProb]) -> Bool {
      a.count == b.count && zip(a, b).allSatisfy { found, wanted in
        guard let one = found.logProb, let other = wanted.logProb else { return found.logProb == wanted.logProb }
        return one == other || Double(abs(one - other)) < tolerance + 1e-6 * Double(abs(other))
      }
    }
    #expect(close(found.outputLogProbs, wanted.outputLogProbs), "\(note), \(found.id)")
    #expect(close(found.inputLogProbs, wanted.inputLogProbs), "\(note), \(found.id)")
    #expect(close(found.outputTopLogProbs.flatMap { $0 }, wanted.outputTopLogProbs.flatMap { $0 }))
    #expect(close(found.inputTopLogProbs.flatMap { $0 }, wanted.inputTopLogProbs.flatMap { $0 }))
    #expect(close(found.outputTokenIDsLogProbs.flatMap { $0 }, wanted.outputTokenIDsLogProbs.flatMap { $0 }))
    #expect(close(found.inputTokenIDsLogProbs.flatMap { $0 }, wanted.inputTokenIDsLogProbs.flatMap { $0 }))
  }

  static func alone(_ requests: [GenerateRequest]) async throws -> [GenerateOutput] {
    let engine = try Engine(folder: modelFolder("qwen3-tied"), tokenizer: nil)
    var outputs: [GenerateOutput] = []
    for request in requests { outputs.append(try await engine.generate(request)) }
    return outputs
  }

  @Test func batchChunkAndPageSizesDoNotMatter() async throws {
    let requests = randomRequests(64, seed: 3)
    let wanted = try await Self.alone(requests)
    for (running, chunk, page, tokens) in [
      (1, 1, 16, nil), (3, 3, 1, nil), (7, 7, 16, nil), (64, 64, 16, nil), (64, 2048, 1, nil), (16, 64, 4, 300), (64, 100, 2, 160),
    ] as [(Int, Int, Int, Int?)] {
      let engine = try Engine(
        folder: modelFolder("qwen3-tied"), tokenizer: nil,
        options: EngineOptions(
          pageSize: page, maxTotalTokens: tokens, maxRunningRequests: running, chunkedPrefillSize: chunk,
          scheduleConservativeness: 0.1))
      let outputs = try await generateAll(engine, requests)
      for (found, wanted) in zip(outputs, wanted) { Self.expectSame(found, wanted, "\(running), \(chunk), \(page)") }
      if tokens == 160 { #expect(outputs.contains { $0.retractions > 0 }, "no retraction was forced") }
      try await expectIdle(engine)
    }
  }

  @Test func arrivalsAndAbortsDoNotMatter() async throws {
    let requests = randomRequests(40, seed: 4)
    let wanted = try await Self.alone(requests)
    for seed in 0..<3 as Range<UInt64> {
      let engine = try Engine(
        folder: modelFolder("qwen3-tied"), tokenizer: nil,
        options: EngineOptions(pageSize: 3, maxTotalTokens: 400, maxRunningRequests: 20, chunkedPrefillSize: 24))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for (request, wanted) in zip(requests, wanted) {
          var random = SeededGenerator(state: seed &* 1000 &+ UInt64(request.sampling.samplingSeed!))
          let delay = Int.random(in: 0...20, using: &random)
          let fate = Int.random(in: 0..<4, using: &random)
          let patience = Int.random(in: 0...3, using: &random)
          group.addTask {
            try await Task.sleep(for: .milliseconds(delay))
            switch fate {
            case 0:
              // The consumer leaves.
              var count = 0
              for try await _ in engine.stream(request) {
                count += 1
                if count > patience { break }
              }
            case 1:
              async let output = engine.generate(request)
              try await Task.sleep(for: .milliseconds(patience))
              await engine.abort(request.id)
              let found = try await output
              if case .abort = found.finishReason {
                #expect(wanted.outputTokens.starts(with: found.outputTokens))
              } else {
                Self.expectSame(found, wanted, "seed \(seed)")
              }
            default:
              var last: GenerateOutput?
              for try await update in engine.stream(request) {
                #expect(wanted.outputTokens.starts(with: update.outputTokens))
                last = update
              }
              Self.expectSame(try #require(last), wanted, "seed \(seed)")
            }
          }
        }
        try await group.waitForAll()
      }
      await engine.abort(nil)
      try await expectIdle(engine)
    }
  }

  @Test func unseededRequestsDependOnTheEngineSeedAlone() async throws {
    func run(randomSeed: Int, running: Int) async throws -> [[Int]] {
      let engine = try Engine(
        folder: modelFolder("qwen2"), tokenizer: nil, options: EngineOptions(maxRunningRequests: running, randomSeed: randomSeed))
      var requests = randomRequests(8, seed: 5)
      for i in requests.indices {
        (requests[i].sampling.samplingSeed, requests[i].sampling.temperature) = (nil, 1)
        (requests[i].sampling.maxNewTokens, requests[i].sampling.ignoreEOS) = (8, true)
      }
      try await engine.pause(.inPlace)
      // Queued in order while nothing runs, so that arrivals are numbered alike.
      let streams = requests.map { engine.stream($0) }
      try await engine.resume()
      var outputs: [[Int]] = []
      for stream in streams {
        var last: [Int] = []
        for try await update in stream { last = update.outputTokens }
        outputs.append(last)
      }
      return outputs
    }
    let first = try await run(randomSeed: 1, running: 8)
    #expect(try await run(randomSeed: 1, running: 3) == first)
    #expect(try await run(randomSeed: 2, running: 8) != first)
    #expect(Set(first).count == first.count)
  }
}
