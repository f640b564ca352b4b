import Inference
import TestSupport
import Testing
import Torch

/// The engine against computing every sequence whole and anew.
@Suite struct EngineParityTests {
  @Test(arguments: [
    "llama2", "llama3-gqa", "llama31-rope-scaling", "qwen2", "qwen25-yarn", "qwen3-tied", "qwen3-untied-3-heads", "qwen3-moe",
    "qwen3-moe-top-1-tied", "qwen2-moe", "deepseek-v3", "deepseek-v3-no-query-rank", "glm4-moe",
  ])
  func greedyEqualsRecomputation(_ name: String) async throws {
    let folder = try modelFolder(name)
    let reference = try ReferenceModel(folder)
    let engine = try Engine(folder: folder, tokenizer: nil, options: EngineOptions(pageSize: 4, chunkedPrefillSize: 8))
    var requests = randomRequests(6, seed: 1, vocabulary: reference.model.configuration.vocabularySize)
    for i in requests.indices {
      requests[i].sampling = SamplingParameters()
      (requests[i].sampling.temperature, requests[i].sampling.ignoreEOS, requests[i].sampling.maxNewTokens) = (0, true, 12)
    }
    for (request, output) in zip(requests, try await generateAll(engine, requests)) {
      #expect(output.outputTokens == reference.greedy(request.tokens, count: 12))
      #expect(output.finishReason == .length(12) && output.promptTokens == request.tokens.count)
    }
    try await expectIdle(engine)
  }

  @Test(arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3"])
  func logProbsEqualThoseOfTraining(_ name: String) async throws {
    let folder = try modelFolder(name)
    let reference = try ReferenceModel(folder)
    let engine = try Engine(folder: folder, tokenizer: nil, options: EngineOptions(chunkedPrefillSize: 16))
    var requests = randomRequests(12, seed: 2, vocabulary: reference.model.configuration.vocabularySize)
    for i in requests.indices {
      (requests[i].sampling.repetitionPenalty, requests[i].sampling.minNewTokens) = (1, 0)
      (requests[i].logProbStart, requests[i].topLogProbs) = (0, 3)
    }
    for (request, output) in zip(requests, try await generateAll(engine, requests)) {
      let tokens = request.tokens + output.outputTokens
      let (plain, cool) = (
        reference.logProbs(tokens),
        reference.logProbs(tokens, temperature: request.sampling.temperature == 0 ? 1 : request.sampling.temperature)
      )
      #expect(output.inputLogProbs.map(\.token) == request.tokens && output.inputLogProbs[0].logProb == nil)
      for (found, wanted) in zip(output.inputLogProbs.dropFirst(), plain) {
        #expect(abs(found.logProb! - wanted) < 1e-4)
      }
      #expect(output.outputLogProbs.map(\.token) == output.outputTokens)
      for (found, wanted) in zip(output.outputLogProbs, cool.dropFirst(request.tokens.count - 1)) {
        #expect(abs(found.logProb! - wanted) < 1e-4)
      }
      #expect(output.inputTopLogProbs.count == request.tokens.count)
      let logits = reference.logits(tokens).logSoftmax(1)
      for position in 1..<request.tokens.count {
        let (values, order) = logits[position - 1].topk(3)
        let (wanted, ids): ([Float], [Int]) = (values.array(), order.array())
        let top = output.inputTopLogProbs[position]
        #expect(top.map(\.token) == ids && zip(top, wanted).allSatisfy { abs($0.logProb! - $1) < 1e-4 })
      }
      for (position, found) in output.outputTokenIDsLogProbs.enumerated() {
        let cooled = reference.logits(tokens)[request.tokens.count - 1 + position]
          / (request.sampling.temperature == 0 ? 1 : request.sampling.temperature)
        let wanted: [Float] = cooled.logSoftmax(0).array()
        #expect(found.allSatisfy { abs($0.logProb! - wanted[$0.token]) < 1e-4 } && found.map(\.token) == [5, 6])
      }
    }
  }
}
