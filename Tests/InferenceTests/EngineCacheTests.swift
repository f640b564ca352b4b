import Foundation
import Inference
import Synchronization
import TestSupport
import Testing

/// The engine with its prefix cache against the engine without.
@Suite struct EngineCacheTests {
  private static func options(
    page: Int = 4, tokens: Int? = nil, chunk: Int = 512, cached: Bool = true, counting counts: PromptCounts? = nil
  ) -> EngineOptions {
    var options = EngineOptions(
      pageSize: page, maxTotalTokens: tokens, maxRunningRequests: 32, chunkedPrefillSize: chunk, scheduleConservativeness: 0.1,
      disableRadixCache: !cached)
    if let counts { options.onPlan = { counts.add($0) } }
    return options
  }

  private static func engine(_ options: EngineOptions, _ model: String = "qwen3-tied") throws -> Engine {
    try Engine(folder: modelFolder(model), tokenizer: nil, options: options)
  }

  /// Samples of some prompts, all of a prompt in a row.
  private static func groups(_ count: Int, of size: Int, prompt: Int, new: Int) -> [GenerateRequest] {
    var random = SeededGenerator(state: 9)
    return (0..<count).flatMap { group -> [GenerateRequest] in
      let tokens = (0..<prompt).map { _ in Int.random(in: 3..<97, using: &random) }
      return (0..<size).map { member in
        var sampling = SamplingParameters()
        (sampling.maxNewTokens, sampling.ignoreEOS, sampling.samplingSeed) = (new, true, group * size + member)
        return GenerateRequest(id: "\(group)-\(member)", tokens: tokens, sampling: sampling, returnLogProbs: true)
      }
    }
  }

  @Test(arguments: [("qwen3-tied", 64), ("qwen3-tied", 512), ("qwen35", 64), ("qwen35", 512)])
  func groupsComputeTheirPromptOnce(model: String, chunk: Int) async throws {
    let requests = Self.groups(3, of: 16, prompt: 161, new: 12)
    let (counts, all) = (PromptCounts(requests), PromptCounts(requests))
    let engine = try Self.engine(Self.options(chunk: chunk, counting: counts), model)
    let plain = try Self.engine(Self.options(chunk: chunk, cached: false, counting: all), model)
    let outputs = try await generateAll(engine, requests)
    for (found, wanted) in zip(outputs, try await generateAll(plain, requests)) {
      Self.expectSame(found, wanted, "chunk \(chunk)", model)
      #expect(wanted.cachedTokens == 0)
    }
    #expect(all.total == 48 * 161 && counts.total * 10 < all.total)
    let status = try await engine.status()
    #expect(status.promptTokensTotal == all.total && status.cachedTokensTotal == all.total - counts.total)
    #expect(outputs.reduce(0) { $0 + $1.cachedTokens } == status.cachedTokensTotal && status.evictablePages > 0)
    #expect(outputs.count { $0.cachedTokens == 160 } == 45)
    try await expectIdle(engine)
    #expect(await engine.flushCache())
    #expect(try await engine.status().evictablePages == 0)
    #expect(try await engine.generate(requests[0]).cachedTokens == 0)
  }

  @Test(arguments: [
    ("qwen3-tied", 4, 400, 40), ("qwen3-tied", 1, 300, 32), ("qwen3-tied", 16, 480, 64), ("qwen35", 4, 300, 40),
  ])
  func prefixesChunksAndRetractionsDoNotMatter(model: String, page: Int, tokens: Int, chunk: Int) async throws {
    var requests = Self.groups(4, of: 6, prompt: 50, new: 40)
    for i in requests.indices {
      requests[i].tokens.removeLast(i % 6 / 2 * 9)
      if i % 5 == 0 { requests[i].logProbStart = i }
      if i % 7 == 0 { requests[i].cacheSalt = "a" }
      if i % 3 == 0 { (requests[i].sampling.temperature, requests[i].sampling.maxNewTokens) = (0, 25) }
      (requests[i].priority, requests[i].sampling.ignoreEOS) = (i % 4, false)
    }
    let plain = try Self.engine(Self.options(cached: false), model)
    let wanted = try await generateAll(plain, requests)
    let engine = try Self.engine(Self.options(page: page, tokens: tokens, chunk: chunk), model)
    for round in 0..<2 {
      let outputs = try await generateAll(engine, requests)
      for (found, wanted) in zip(outputs, wanted) { Self.expectSame(found, wanted, "round \(round)", model) }
      #expect(outputs.contains { $0.retractions > 0 } && outputs.contains { $0.cachedTokens > 0 })
    }
    let status = try await engine.status()
    #expect(status.evictedTokensTotal > 0 && status.retractedTotal > 0)
    try await expectIdle(engine)
  }

  private static func expectSame(
    _ found: GenerateOutput, _ wanted: GenerateOutput, _ note: String, _ model: String = "qwen3-tied"
  ) {
    EngineInvarianceTests.expectSame(found, wanted, note, tolerance: model == "qwen35" ? 1e-4 : 1e-5)
  }

  @Test func aConversationGoesOnFromItsCache() async throws {
    let engine = try Self.engine(Self.options())
    var request = Self.groups(1, of: 1, prompt: 30, new: 11)[0]
    for turn in 0..<4 {
      let output = try await engine.generate(request)
      let plain = try Self.engine(Self.options(cached: false))
      Self.expectSame(output, try await plain.generate(request), "turn \(turn)")
      // All but the last token that was sampled, in whole pages.
      #expect(output.cachedTokens == (turn == 0 ? 0 : (request.tokens.count - 4) / 4 * 4))
      request.tokens += output.outputTokens + [7, 8, 9]
    }
  }

  @Test(arguments: PauseMode.allCases) func newWeightsDoNotMeetOldPrefixes(_ mode: PauseMode) async throws {
    let requests = Self.groups(1, of: 3, prompt: 41, new: 60)
    let folder = try modelFolder("qwen3-tied")
    let files = try folder.weights()
    let tensors = try files.names.map { name in
      let changed = try files.tensor(name).flip([0]).contiguous()
      return NamedBytes(name, dtype: changed.dtype, shape: changed.shape, bytes: changed.withBytes { Data($0) })
    }
    func update(_ engine: Engine) async throws {
      try await engine.beginWeightUpdate()
      try await engine.updateWeights(tensors)
      try await engine.endWeightUpdate(version: "2")
    }
    let fresh = try Self.engine(Self.options(cached: false))
    try await update(fresh)
    let engine = try Self.engine(Self.options())
    async let old = engine.generate(requests[0])
    while try await engine.status().generatedTokens < 3 { await Task.yield() }
    try await engine.pause(mode)
    #expect(try await engine.status().evictablePages == 0 || mode != .inPlace)
    try await update(engine)
    #expect(try await engine.status().evictablePages == 0)
    async let new = engine.generate(requests[1])
    try await engine.resume()
    let wanted = try await fresh.generate(requests[1])
    let found = try await new
    Self.expectSame(found, wanted, mode.rawValue)
    _ = try await old
    let last = try await engine.generate(requests[2])
    #expect(last.cachedTokens == 40)
    Self.expectSame(last, try await fresh.generate(requests[2]), mode.rawValue)
    try await expectIdle(engine)
  }

  @Test func aFailedBatchLeavesNothingBehind() async throws {
    let requests = Self.groups(1, of: 2, prompt: 41, new: 4)
    let steps = Mutex(0)
    var options = Self.options(chunk: 32)
    options.onPlan = { _ in
      let step = steps.withLock { count in
        count += 1
        return count
      }
      if step == 2 { throw EngineError("Injected.") }
    }
    let engine = try Self.engine(options)
    await #expect(throws: EngineError.self) { try await engine.generate(requests[0]) }
    // The first chunk was computed; the second was not.
    #expect(try await engine.status().evictablePages == 8)
    let found = try await engine.generate(requests[1])
    #expect(found.cachedTokens == 32)
    Self.expectSame(found, try await Self.engine(Self.options(cached: false)).generate(requests[1]), "after the failure")
  }
}

/// Counts the prompt tokens that an engine runs.
private final class PromptCounts: Sendable {
  private let lengths: [String: Int]
  private let count = Mutex(0)

  init(_ requests: [GenerateRequest]) {
    lengths = Dictionary(uniqueKeysWithValues: requests.map { ($0.id, $0.tokens.count) })
  }

  func add(_ plan: BatchPlan) {
    let added = plan.items.reduce(0) { $0 + max(0, min($1.end, lengths[$1.id]!) - $1.start) }
    count.withLock { $0 += added }
  }

  var total: Int { count.withLock { $0 } }
}
