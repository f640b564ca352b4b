import Foundation
import HTTP
import Inference
import JSON
import Serving
import TestSupport
import Testing
import WeightSync

@Suite struct RemoteGenerationEngineTests {
  /// Whatever is asked for: an engine behind HTTP is asked the same, and answers the same, as one in the process.
  @Test func anEngineElsewhereIsAnEngine() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { client in
      let remote = RemoteGenerationEngine(try RemoteEngine("127.0.0.1:\(client.port)"))
      var random = SeededGenerator(state: 5)
      for index in 0..<60 {
        let request = Self.request(index, &random)
        let found = try await remote.generate(request)
        #expect(engine.snapshot.requests[request.id] == request)
        var direct = request
        direct.id += " again"
        var expected = try await engine.generate(direct)
        (expected.id, expected.endToEndLatency) = (request.id, found.endToEndLatency)
        expected.firstTokenLatency = found.firstTokenLatency
        if expected.weightVersions.isEmpty {
          expected.weightVersions = [.init(version: expected.weightVersion, start: 0, end: expected.outputTokens.count)]
        }
        // Rows without entries are left out.
        if request.topLogProbs == 0 { (expected.inputTopLogProbs, expected.outputTopLogProbs) = ([], []) }
        if request.tokenIDsLogProb.isEmpty { (expected.inputTokenIDsLogProbs, expected.outputTokenIDsLogProbs) = ([], []) }
        #expect(found == expected)
      }
      await #expect(throws: WeightSyncError.self) { try await remote.generate(GenerateRequest(id: "x", tokens: [13])) }
      let status = try await remote.status()
      #expect((status.vocabularySize, status.contextLength) == (384, 2048))
      try await remote.pause(.abort)
      #expect(engine.snapshot.mode == .abort)
      try await remote.resume()
      #expect(engine.snapshot.mode == nil)
    }
  }

  private static func request(_ index: Int, _ random: inout SeededGenerator) -> GenerateRequest {
    let tokens = (0..<Int.random(in: 1...6, using: &random)).map { _ in Int.random(in: 20..<384, using: &random) }
    func perhaps<T>(_ value: T) -> T? { Bool.random(using: &random) ? value : nil }
    var sampling = SamplingParameters()
    sampling.maxNewTokens = Int.random(in: 0...9, using: &random)
    (sampling.temperature, sampling.topP, sampling.topK) = (Double.random(in: 0.1...2, using: &random), 0.75, perhaps(7) ?? -1)
    (sampling.minP, sampling.frequencyPenalty, sampling.presencePenalty) = (perhaps(0.25) ?? 0, perhaps(-1) ?? 0, perhaps(2) ?? 0)
    (sampling.repetitionPenalty, sampling.logitBias) = (perhaps(1.5) ?? 1, perhaps([3: -1.5, 200: 2]) ?? [:])
    (sampling.stop, sampling.stopTokenIDs) = (perhaps(["tok3", "é\n"]) ?? [], perhaps([102, 104]) ?? [])
    (sampling.ignoreEOS, sampling.noStopTrim, sampling.skipSpecialTokens) = (.random(using: &random), .random(using: &random), false)
    (sampling.spacesBetweenSpecialTokens, sampling.samplingSeed) = (.random(using: &random), perhaps(1 << 40))
    sampling.minNewTokens = Int.random(in: 0...sampling.maxNewTokens!, using: &random)
    sampling.regex = perhaps("a+")
    let logProbs = Bool.random(using: &random)
    return GenerateRequest(
      id: "r\(index)", tokens: tokens, sampling: sampling, returnLogProbs: logProbs,
      logProbStart: logProbs ? perhaps(Int.random(in: 0..<tokens.count, using: &random)) : nil,
      topLogProbs: logProbs ? perhaps(2) ?? 0 : 0, tokenIDsLogProb: logProbs ? perhaps([5, 6]) ?? [] : [],
      priority: perhaps(3), extraKey: perhaps("key"), cacheSalt: perhaps("salt"))
  }

  /// What releases of SGLang leave out, or write otherwise.
  @Test func answersOfOtherServersAreRead() async throws {
    let meta = #""finish_reason":{"type":"stop","matched":[7,9]},"output_token_logprobs":[[-0.5,8,null],[-0.25,9]]"#
    for (answer, words) in [
      (#"{"text":"a","output_ids":[1],"meta_info":{\#(meta)}}"#, nil),
      (#"{"meta_info":{\#(meta),"weight_version":3,"routed_experts":"AQAAAA=="}}"#, nil),
      (#"{"meta_info":{"output_token_logprobs":[]}}"#, "finish_reason is missing"),
      (#"{"meta_info":{"finish_reason":{"type":"stop"},"output_token_logprobs":[["a",1]]}}"#, "output_token_logprobs must be"),
      ("[]", "must be a JSON object"),
    ] as [(String, String?)] {
      let server = try ScriptedServer([
        [.read, .write("HTTP/1.1 200 OK\r\nContent-Length: \(answer.utf8.count)\r\n\r\n\(answer)"), .hang]
      ])
      let remote = RemoteGenerationEngine(try RemoteEngine("http://127.0.0.1:\(server.port)"))
      let request = GenerateRequest(id: "x", tokens: [4, 5], returnLogProbs: true)
      do {
        let output = try await remote.generate(request)
        #expect(words == nil)
        #expect(output.outputTokens == [8, 9] && output.outputLogProbs.map(\.logProb) == [-0.5, -0.25])
        #expect(output.finishReason == .stopToken(9) && output.promptTokens == 2)
        #expect(output.weightVersion == (answer.contains("version") ? "3" : "default"))
      } catch {
        #expect(words.map { "\(error)".contains($0) && "\(error)".contains(remote.remote.address) } ?? false, "\(error)")
      }
    }
  }
}
