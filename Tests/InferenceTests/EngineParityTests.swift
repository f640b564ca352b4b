import Checkpoints
import Inference
import TestSupport
import Testing
import Torch

/// The engine against computing every sequence whole and anew.
@Suite struct EngineParityTests {
  /// The tokens that `transformers` generates greedily, whatever the sizes of pages and chunks and whoever is in the batch.
  @Test(arguments: modelFixtures, [(1, 5), (4, 8), (16, 64)])
  func greedyIsThatOfTransformers(_ name: String, _ sizes: (page: Int, chunk: Int)) async throws {
    try await Self.expectGreedyTokens(of: name, EngineOptions(pageSize: sizes.page, chunkedPrefillSize: sizes.chunk))
  }

  /// Lets an engine of a fixture continue its prompts as `transformers` did.
  static func expectGreedyTokens(of name: String, _ options: EngineOptions, returnLogProbs: Bool = false) async throws {
    let reference = try SafetensorsFile(fixture("models/\(name)/reference.safetensors"))
    let tokens: [Int] = try reference.tensor("prompts").array()
    let bounds: [Int] = try reference.tensor("prompt_cu_seqlens").array()
    let wanted = try reference.tensor("generated")
    let engine = try Engine(folder: modelFolder(name), tokenizer: nil, options: options)
    let requests = zip(bounds, bounds.dropFirst()).enumerated().map { index, range in
      var sampling = SamplingParameters()
      (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, wanted.size(1))
      return GenerateRequest(
        id: "\(index)", tokens: Array(tokens[range.0..<range.1]), sampling: sampling, returnLogProbs: returnLogProbs)
    }
    #expect(wanted.size(1) == 64 && requests.count == 3)
    for (index, output) in try await generateAll(engine, requests).enumerated() {
      #expect(output.outputTokens == wanted[index].array(), "prompt \(index)")
    }
    try await expectIdle(engine)
  }

  @Test(arguments: ["llama3-gqa", "qwen3-moe", "deepseek-v3", "mistral-window", "gemma2", "gpt-oss", "qwen3-next"])
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

  @Test(arguments: ["qwen3-tied", "qwen3-moe", "deepseek-v3", "gemma3-caps", "gpt-oss", "gpt2", "qwen35-moe"])
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
