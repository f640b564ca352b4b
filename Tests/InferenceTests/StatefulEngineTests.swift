import Foundation
import Inference
import TestSupport
import Testing

/// Engines of models with layers that keep states of requests: what these take, and what they exclude.
@Suite struct StatefulEngineTests {
  private static func engine(_ adjust: (inout EngineOptions) -> Void = { _ in }, model: String = "qwen35") throws -> Engine {
    var options = EngineOptions(pageSize: 4, maxRunningRequests: 32, chunkedPrefillSize: 64)
    adjust(&options)
    return try Engine(folder: modelFolder(model), tokenizer: nil, options: options)
  }

  /// A request's states: three layers of a window of 3 × 64 numbers and a memory of 4 × 10 × 6, fp32.
  private static let stateBytes = 3 * 4 * (3 * 64 + 4 * 10 * 6)

  /// Half of the memory is for states, of which a quarter is for prefixes; the rest is for the one layer's KV.
  @Test func statesTakeTheirPartOfTheMemory() async throws {
    let engine = try Self.engine { $0.cacheBytes = 2 * 8 * Self.stateBytes }
    let status = try await engine.status()
    #expect(status.maxRunningRequests == 6)
    let bytesPerToken = 2 * 2 * 16 * 4
    #expect(status.totalPages == 8 * Self.stateBytes / bytesPerToken / 4)
    let wide = try await Self.engine { $0.cacheBytes = 1 << 24 }.status()
    #expect(wide.maxRunningRequests == 32)
    let error = #expect(throws: EngineError.self) { try Self.engine { $0.cacheBytes = 2 * Self.stateBytes - 1 } }
    #expect(error?.description.contains("\(Self.stateBytes) bytes") == true)
  }

  /// With fewer places than requests and few for prefixes, what runs first makes no difference.
  @Test(arguments: [false, true]) func fewPlacesDoNotMatter(overlaps: Bool) async throws {
    var requests = randomRequests(24, seed: 4, vocabulary: 97)
    for i in requests.indices { requests[i].tokens = requests[i % 6].tokens + (i < 12 ? [] : [i]) }
    let wanted = try await generateAll(Self.engine { $0.disableRadixCache = true }, requests)
    let engine = try Self.engine {
      ($0.cacheBytes, $0.maxTotalTokens, $0.overlapsSchedule) = (2 * 8 * Self.stateBytes, 800, overlaps)
    }
    for (found, wanted) in zip(try await generateAll(engine, requests), wanted) {
      EngineInvarianceTests.expectSame(found, wanted, found.id, tolerance: 1e-4)
    }
    try await expectIdle(engine)
  }

  /// Memory that was given back comes back, with nothing in it.
  @Test func memoryMayBeReleased() async throws {
    let engine = try Self.engine()
    let request = randomRequests(1, seed: 8, vocabulary: 97)[0]
    let first = try await engine.generate(request)
    try await engine.releaseMemory([.keyValueCache])
    try await engine.resumeMemory([.keyValueCache])
    let second = try await engine.generate(request)
    EngineInvarianceTests.expectSame(second, first, "after a release")
    #expect(second.cachedTokens == 0)
  }

  @Test func draftsAreRefused() throws {
    let error = #expect(throws: EngineError.self) {
      try Self.engine { $0.speculative = SpeculativeOptions(.ngram(NGramOptions())) }
    }
    #expect(error?.description.contains("--speculative-algorithm") == true)
    let drafting = #expect(throws: EngineError.self) {
      try Self.engine({ $0.speculative = SpeculativeOptions(.standalone(try! modelFolder("qwen35"))) }, model: "qwen25-yarn")
    }
    #expect(drafting?.description.contains("keeps states") == true)
  }

  @Test func adaptersAreRefused() {
    let error = #expect(throws: EngineError.self) { try Self.engine { $0.adapters = AdapterOptions() } }
    #expect(error?.description.contains("--enable-lora") == true)
  }

  @Test func deterministicEnginesAreRefused() {
    let error = #expect(throws: (any Error).self) { try Self.engine { $0.isDeterministic = true } }
    #expect("\(error!)".contains("gated delta rule"))
  }
}
