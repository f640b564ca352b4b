import Checkpoints
import Foundation
import Inference
import Models
import Parallelism
import TestSupport
import Testing
import Torch

func modelFolder(_ name: String) throws -> HuggingFaceFolder { try HuggingFaceFolder(fixture("models/\(name)")) }

/// A model that computes every sequence whole and anew, with the attention of training.
struct ReferenceModel {
  let model: CausalLM

  init(_ folder: HuggingFaceFolder, dtype: DType = .float32) throws {
    model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: dtype)
    try model.load(folder, dtype: dtype, device: .cpu)
  }

  /// `[tokens.count, vocabulary]`
  func logits(_ tokens: [Int]) -> Tensor {
    withoutGradients {
      let context = ForwardContext(
        positions: .arange(tokens.count), attention: PackedAttention(lengths: [tokens.count], device: .cpu))
      return model.logits(model.hidden(Tensor(tokens), context))
    }
  }

  func greedy(_ prompt: [Int], count: Int) -> [Int] {
    var tokens = prompt
    for _ in 0..<count { tokens.append(logits(tokens)[tokens.count - 1].argmax().intItem()) }
    return Array(tokens[prompt.count...])
  }

  /// Of each token but the first, given those before it.
  func logProbs(_ tokens: [Int], temperature: Double = 1) -> [Float] {
    withoutGradients {
      let logits = logits(tokens)[0..<tokens.count - 1]
      return vocabularyLogProbs(
        logits: logits, from: 0, targets: Tensor(Array(tokens[1...])), temperature: temperature, group: .single()
      ).logProbs.array()
    }
  }
}

/// Prompts and parameters of all kinds, the same for every seed.
func randomRequests(_ count: Int, seed: UInt64, vocabulary: Int = 97, longestPrompt: Int = 60) -> [GenerateRequest] {
  var random = SeededGenerator(state: seed)
  return (0..<count).map { i in
    var sampling = SamplingParameters()
    sampling.maxNewTokens = Int.random(in: 1...16, using: &random)
    sampling.ignoreEOS = Bool.random(using: &random)
    sampling.temperature = [0, 0.7, 1, 1.3].randomElement(using: &random)!
    sampling.samplingSeed = i
    if Bool.random(using: &random) { sampling.topP = 0.8 }
    if Bool.random(using: &random) { sampling.topK = 20 }
    if i % 5 == 0 { sampling.repetitionPenalty = 1.2 }
    if i % 7 == 0 { sampling.minNewTokens = min(2, sampling.maxNewTokens!) }
    let prompt = (0..<Int.random(in: 1...longestPrompt, using: &random)).map { _ in
      Int.random(in: 3..<vocabulary, using: &random)
    }
    return GenerateRequest(
      id: "r\(i)", tokens: prompt, sampling: sampling, returnLogProbs: true, logProbStart: i % 3 == 0 ? 0 : nil,
      topLogProbs: i % 4, tokenIDsLogProb: i % 2 == 0 ? [5, 6] : [])
  }
}

func generateAll(_ engine: Engine, _ requests: [GenerateRequest]) async throws -> [GenerateOutput] {
  try await withThrowingTaskGroup(of: (Int, GenerateOutput).self) { group in
    for (i, request) in requests.enumerated() { group.addTask { (i, try await engine.generate(request)) } }
    var outputs = [GenerateOutput?](repeating: nil, count: requests.count)
    for try await (i, output) in group { outputs[i] = output }
    return outputs.map { $0! }
  }
}

func expectIdle(_ engine: Engine) async throws {
  let status = try await engine.status()
  #expect(status.freePages == status.totalPages && status.runningRequests == 0 && status.waitingRequests == 0)
  try await engine.checkIntegrity()
}
