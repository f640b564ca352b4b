import Checkpoints
import Foundation
import Inference
import Synchronization
import TestSupport
import Testing
import Torch

private final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .sequentiallyConsistent) }
  func set() { value.store(true, ordering: .sequentiallyConsistent) }
}

/// Adapters that come and go while an engine serves.
@Suite struct AdapterLifeTests {
  private let name = "llama3-gqa-all"
  private let other = "llama3-gqa-queries"

  private func long(_ id: String, adapter: String?, tokens: Int = 200) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, tokens)
    return GenerateRequest(id: id, tokens: [9, 8, 7, 6, 5, 4, 3, 9, 8], sampling: sampling, adapter: adapter)
  }

  @Test func unloadingWaitsForRequests() async throws {
    let engine = try await adapterEngine("llama3-gqa", [name, other])
    let wanted = try await engine.generate(long("alone", adapter: name)).outputTokens
    let isUnloaded = Flag()
    var unloading: Task<Void, any Error>?
    var last: GenerateOutput?
    for try await output in engine.stream(long("a", adapter: name)) {
      last = output
      if unloading == nil, !output.outputTokens.isEmpty {
        unloading = Task { [name] in
          try await engine.unloadAdapter(name)
          isUnloaded.set()
        }
        // It is refused to new requests at once, while the request runs on.
        while try await engine.status().adapters?.map(\.name) != [other] { try await Task.sleep(for: .milliseconds(1)) }
        let error = await #expect(throws: InvalidRequest.self) { try await engine.generate(self.long("b", adapter: self.name)) }
        #expect(error?.description.contains("There is no adapter \(name); loaded are \(other)") == true)
        let wasUnloaded = isUnloaded.isSet
        if try await engine.status().runningRequests > 0 { #expect(!wasUnloaded) }
      }
    }
    try await unloading?.value
    #expect(last?.outputTokens == wanted && isUnloaded.isSet)
    // The name is free, and what was computed under it before is not found.
    try await engine.loadAdapter(name, from: fixture("lora/\(other)"))
    let found = try await engine.generate(long("c", adapter: name))
    #expect(found.cachedTokens == 0)
    #expect(try await engine.generate(long("d", adapter: other)).outputTokens == found.outputTokens)
    #expect(found.outputTokens != wanted)
    try await expectIdle(engine)
  }

  @Test func abortsLetAnAdapterGo() async throws {
    let engine = try await adapterEngine("llama3-gqa", [name])
    try await engine.pause(.inPlace)
    let request = Task { try await engine.generate(long("a", adapter: name)) }
    while try await engine.status().waitingRequests == 0 { try await Task.sleep(for: .milliseconds(1)) }
    let unloading = Task { [name] in try await engine.unloadAdapter(name) }
    while try await engine.status().adapters != [] { try await Task.sleep(for: .milliseconds(1)) }
    await engine.abort("a")
    try await unloading.value
    #expect(try await request.value.finishReason == .abort("Aborted"))
    await #expect(throws: InvalidRequest.self) { try await engine.unloadAdapter(self.name) }
    try await engine.resume()
    try await expectIdle(engine)
  }

  @Test func anEngineThatGoesAnswersWhoWaits() async throws {
    let engine = try await adapterEngine("llama3-gqa", [name])
    try await engine.pause(.inPlace)
    let request = Task { try await engine.generate(long("a", adapter: name)) }
    while try await engine.status().waitingRequests == 0 { try await Task.sleep(for: .milliseconds(1)) }
    let unloading = Task { [name] in try await engine.unloadAdapter(name) }
    while try await engine.status().adapters != [] { try await Task.sleep(for: .milliseconds(1)) }
    engine.shutDown()
    await #expect(throws: EngineError.self) { try await unloading.value }
    await #expect(throws: EngineError.self) { try await request.value }
  }

  /// Adapters come and go, many times, while requests of all kinds run.
  @Test func loadsAndUnloadsBesideRequests() async throws {
    let engine = try await adapterEngine("llama3-gqa", AdapterFixture.ofLlama, maxPerBatch: 2)
    let requests = mixedRequests(48, seed: 12)
    let wanted = try await generateAll(engine, requests)
    let isDone = Flag()
    let churn = Task {
      var round = 0
      while !isDone.isSet {
        let temporary = "temporary-\(round)"
        try await engine.loadAdapter(temporary, from: fixture("lora/\(AdapterFixture.ofLlama[round % 3])"))
        _ = try await engine.generate(long(temporary, adapter: temporary, tokens: 3))
        try await engine.unloadAdapter(temporary)
        round += 1
      }
      return round
    }
    for _ in 0..<3 { expectAlike(try await generateAll(engine, requests), wanted, "beside others") }
    isDone.set()
    #expect(try await churn.value > 0)
    #expect(try await engine.status().adapters?.map(\.name) == AdapterFixture.ofLlama)
    try await expectIdle(engine)
  }

  /// Equal prompts share KV under one adapter and under none, and never across.
  @Test func prefixesAreOfOneAdapter() async throws {
    let engine = try await adapterEngine("llama3-gqa", [name, other])
    for adapter in [nil, name, other] {
      #expect(try await engine.generate(long("first", adapter: adapter, tokens: 2)).cachedTokens == 0)
      #expect(try await engine.generate(long("second", adapter: adapter, tokens: 2)).cachedTokens == 8)
    }
  }

  /// An update replaces the model's weights under the adapters; memory that was let go of comes back.
  @Test(arguments: [1, 2])
  func weightUpdatesLeaveAdaptersInPlace(ranks: Int) async throws {
    let (before, after) = (
      try await adapterEngine("llama3-gqa", [name], tensor: ranks), try await adapterEngine("llama3-gqa", [])
    )
    let generator = Generator(seed: 4)
    var new: [NamedBytes] = []
    for weight in try await before.weightNames() {
      let old = try #require(try await before.weight(named: weight))
      let tensor = Tensor.randn(old.shape, generator: generator).mul_(0.2)
      new.append(NamedBytes(weight, dtype: .float32, shape: old.shape, bytes: tensor.withBytes { Data($0) }))
    }
    _ = try await before.generate(long("a", adapter: name, tokens: 4))
    try await before.releaseMemory(Set(MemoryTag.allCases))
    try await before.resumeMemory(Set(MemoryTag.allCases))
    try await before.replaceWeights(new, WeightInstallation(version: "2"))
    try await after.replaceWeights(new, WeightInstallation(version: "2"))
    try await after.loadAdapter(name, from: fixture("lora/\(name)"))
    let requests = mixedRequests(8, seed: 5).map { request in
      var request = request
      request.adapter = request.adapter.map { _ in name }
      return request
    }
    expectAlike(try await generateAll(before, requests), try await generateAll(after, requests), "after an update")
  }
}
