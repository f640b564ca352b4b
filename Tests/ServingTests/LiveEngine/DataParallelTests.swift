import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Tokenization
import Torch

/// Several engines that look like one.
@Suite struct DataParallelTests {
  private static func folder() throws -> HuggingFaceFolder { try HuggingFaceFolder(fixture("models/qwen3-tied")) }

  private static func engines(_ count: Int) throws -> [Engine] {
    try (0..<count).map { _ in
      try Engine(folder: folder(), tokenizer: nil, options: EngineOptions(pageSize: 4, maxTotalTokens: 1024, randomSeed: 7))
    }
  }

  /// - Parameter seeded: whether it has a seed of its own.
  private static func request(_ i: Int, prompt: [Int], new: Int = 12, seeded: Bool = false) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.maxNewTokens, sampling.ignoreEOS) = (new, true)
    if seeded { sampling.samplingSeed = i }
    return GenerateRequest(id: "r\(i)", tokens: prompt, sampling: sampling, returnLogProbs: true)
  }

  private static func prompt(_ i: Int) -> [Int] { (0..<20).map { 3 + (i * 31 + $0 * 7) % 90 } }

  private static func all(_ engine: some GenerationEngine, _ requests: [GenerateRequest]) async throws -> [GenerateOutput] {
    try await withThrowingTaskGroup(of: (Int, GenerateOutput).self) { group in
      for (i, request) in requests.enumerated() { group.addTask { (i, try await engine.generate(request)) } }
      var outputs: [Int: GenerateOutput] = [:]
      for try await (i, output) in group { outputs[i] = output }
      return requests.indices.map { outputs[$0]! }
    }
  }

  @Test func answersAreThoseOfOneEngineAndAllWork() async throws {
    let members = try Self.engines(3)
    let many = DataParallelEngine(members, randomSeed: 7)
    let one = try Self.engines(1)[0]
    let requests = (0..<30).map { Self.request($0, prompt: Self.prompt($0), seeded: true) }
    let (found, wanted) = (try await Self.all(many, requests), try await Self.all(one, requests))
    for (found, wanted) in zip(found, wanted) {
      #expect(found.outputTokens == wanted.outputTokens && found.id == wanted.id)
      for (found, wanted) in zip(found.outputLogProbs, wanted.outputLogProbs) { #expect(abs(found.logProb! - wanted.logProb!) < 1e-4) }
    }
    for member in members { #expect(try await member.status().generatedTokens >= 5 * 12) }
    // Those without a seed draw theirs in order of arrival, as in one engine.
    for i in 0..<6 {
      let request = Self.request(100 + i, prompt: Self.prompt(3))
      let outputs = (try await many.generate(request), try await one.generate(request))
      #expect(outputs.0.outputTokens == outputs.1.outputTokens)
    }
    let (status, ranks) = (try await many.status(), try await many.rankStatuses())
    #expect(ranks.count == 3 && status.generatedTokens == 36 * 12 && status.totalPages == 3 * ranks[0].totalPages)
    #expect(status.runningRequests == 0 && status.freePages == status.totalPages)
  }

  /// Equal prompts go where they were computed while loads are alike.
  @Test func prefixesAreFoundAgain() async throws {
    let many = DataParallelEngine(try Self.engines(2), randomSeed: 0)
    for i in 0..<4 { #expect(try await many.generate(Self.request(i, prompt: Self.prompt(i))).cachedTokens == 0) }
    for i in 0..<4 { #expect(try await many.generate(Self.request(i, prompt: Self.prompt(i))).cachedTokens >= 16) }
    // Many of one prompt are too many for one engine.
    let members = try Self.engines(2)
    let outputs = try await Self.all(
      DataParallelEngine(members, randomSeed: 0), (0..<40).map { Self.request($0, prompt: Self.prompt(1), new: 40) })
    for member in members { #expect(try await member.status().generatedTokens >= 8 * 40) }
    #expect(Set(outputs.map(\.outputTokens)).count == 40)
  }

  @Test func streamsAndAbandonedOnes() async throws {
    let members = try Self.engines(2)
    let many = DataParallelEngine(members, randomSeed: 0)
    var last: GenerateOutput?
    for try await output in many.stream(Self.request(0, prompt: Self.prompt(0), seeded: true)) { last = output }
    let whole = try await many.generate(Self.request(0, prompt: Self.prompt(0), seeded: true))
    #expect(last?.outputTokens == whole.outputTokens && last?.finishReason == .length(12))
    for i in 0..<4 {
      for try await _ in many.stream(Self.request(i, prompt: Self.prompt(i), new: 400)) { break }
    }
    try await eventually("all have left") { try await many.status().runningRequests == 0 }
    // Their ids are free.
    for i in 0..<4 { _ = try await many.generate(Self.request(i, prompt: Self.prompt(i), new: 2)) }
    await #expect(throws: InvalidRequest.self) { try await many.generate(Self.request(9, prompt: [97])) }
    _ = try await many.generate(Self.request(9, prompt: [9], new: 2))
    let running = Task { try await many.generate(Self.request(5, prompt: [3], new: 400)) }
    try await eventually("it runs") { try await many.status().runningRequests == 1 }
    await #expect(throws: InvalidRequest.self) { try await many.generate(Self.request(5, prompt: [4])) }
    await many.abort("r5")
    #expect(try await running.value.finishReason == .abort("Aborted"))
  }

  @Test func pausesAbortsAndUpdatesReachAll() async throws {
    let members = try Self.engines(2)
    let many = DataParallelEngine(members, randomSeed: 0)
    let requests = (0..<8).map { Self.request($0, prompt: Self.prompt($0), new: 400) }
    for mode in [PauseMode.retract, .inPlace] {
      try await many.pause(mode)
      let task = Task { try await Self.all(many, requests) }
      try await eventually("all wait") { try await many.status().waitingRequests == 8 }
      for member in members { #expect(try await member.status().waitingRequests == 4) }
      #expect(try await many.status().runningRequests == 0)
      try await many.resume()
      try await eventually("both run") {
        for member in members where try await member.status().runningRequests == 0 { return false }
        return true
      }
      #expect(await !many.flushCache())
      await #expect(throws: InvalidRequest.self) { try await many.releaseMemory([.keyValueCache]) }
      await many.abort(nil)
      #expect(try await task.value.allSatisfy { $0.finishReason == .abort("Aborted") })
    }
    #expect(await many.flushCache())

    let generator = Generator(seed: 2)
    var new: [NamedTensor] = []
    for name in try await many.weightNames() {
      let shape = try #require(try await many.weight(named: name)).shape
      new.append(NamedTensor(name, Tensor.randn(shape, generator: generator).mul_(0.2)))
    }
    let wanted = new.map { weight in weight.tensor.withBytes { Data($0) } }
    let names = new.map(\.name)
    try await many.beginWeightUpdate()
    #expect(await many.hasOpenWeightUpdate)
    try await many.updateWeights(new)
    try await many.endWeightUpdate(version: "2")
    func holds(_ bytes: [Data], _ version: String) async throws {
      for member in members {
        #expect(try await member.status().weightVersion == version)
        for (name, bytes) in zip(names, bytes) { #expect(try await member.weight(named: name)?.bytes == bytes, "\(name)") }
      }
    }
    try await holds(wanted, "2")
    try await many.releaseMemory(Set(MemoryTag.allCases))
    try await many.resumeMemory(Set(MemoryTag.allCases))
    try await holds(wanted, "2")
    try await many.replaceWeights(from: Self.folder().url, WeightInstallation(version: "3"))
    let files = try Self.folder().weights()
    try await holds(names.map { name in try files.tensor(name).withBytes { Data($0) } }, "3")
    // What one does not take, none takes.
    await #expect(throws: EngineError.self) {
      try await many.replaceWeights(
        [NamedBytes("nothing", dtype: .float32, shape: [1], bytes: Data(count: 4))], WeightInstallation(version: "4"))
    }
    try await holds(names.map { name in try files.tensor(name).withBytes { Data($0) } }, "3")
  }

  @Test func aServerTellsOfEach() async throws {
    let many = DataParallelEngine(try Self.engines(2), randomSeed: 0)
    try await Server(engine: many, tokenizer: nil, configuration: ServerConfiguration(port: 0)).whileRunning { port in
      let client = Client(port: port)
      let answer = try await client.generate(["input_ids": [[5, 6], [7, 8], [9, 10]], "sampling_params": ["max_new_tokens": 3]])
      #expect(answer.json.array?.count == 3)
      let info = try await client.get("/server_info").json
      #expect(info["dp_size"] == 2 && info["internal_states"]?.array?.count == 2)
      #expect(try await client.get("/v1/loads").json["loads"]?.array?.map { $0["dp_rank"] } == [0, 1])
      #expect(try await client.get("/v1/loads?dp_rank=1").json["loads"]?.array?.map { $0["dp_rank"] } == [1])
      #expect(try await client.get("/v1/loads?format=prometheus").body.contains(#"dp_rank="1""#))
      #expect(try await client.get("/metrics").body.contains("sglang:realtime_tokens_total"))
      let version = try await client.post("/update_weight_version", ["new_version": "5"])
      #expect(version.status == 200)
      for status in try await many.rankStatuses() { #expect(status.weightVersion == "5") }
    }
  }
}
