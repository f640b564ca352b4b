import Checkpoints
import Foundation
import Inference
import JSON
import Models
import TestSupport
import Testing
import Torch

/// An engine of several ranks against one of one.
@Suite struct TensorParallelEngineTests {
  struct Ranks: CustomTestStringConvertible {
    var model: String
    var tensor: Int
    var expert = 1
    var testDescription: String { "\(model) tp \(tensor) ep \(expert)" }
  }

  /// Odd vocabularies, fewer key-value heads than ranks, biases, tied heads, latent attention, experts split and divided,
  /// shared ones.
  @Test(arguments: [
    Ranks(model: "llama3-gqa", tensor: 2), Ranks(model: "llama3-gqa", tensor: 4), Ranks(model: "qwen3-tied", tensor: 2),
    Ranks(model: "qwen2", tensor: 2), Ranks(model: "qwen3-moe", tensor: 2),
    Ranks(model: "qwen2-moe", tensor: 2),
    Ranks(model: "deepseek-v3", tensor: 2), Ranks(model: "glm4-moe", tensor: 2),
    Ranks(model: "gemma2", tensor: 2), Ranks(model: "mistral-window", tensor: 2), Ranks(model: "mixtral", tensor: 2),
    Ranks(model: "phi3", tensor: 2), Ranks(model: "gpt-oss", tensor: 2), Ranks(model: "minimax-m2", tensor: 2),
    Ranks(model: "minimax-m2-whole-rotary", tensor: 2), Ranks(model: "gpt2", tensor: 2), Ranks(model: "gpt-neox", tensor: 2),
    Ranks(model: "qwen3-untied-3-heads", tensor: 3), Ranks(model: "qwen3-next", tensor: 2), Ranks(model: "qwen35", tensor: 2),
    Ranks(model: "qwen35-moe", tensor: 2),
  ])
  func answersAreThoseOfOneRank(_ ranks: Ranks) async throws { try await compare(ranks, modelFolder(ranks.model)) }

  /// Experts divided over the ranks, and divided and split.
  @Test(arguments: [
    Ranks(model: "qwen3-moe", tensor: 2, expert: 2), Ranks(model: "qwen2-moe", tensor: 2, expert: 2),
    Ranks(model: "deepseek-v3", tensor: 4, expert: 2), Ranks(model: "glm4-moe", tensor: 4, expert: 4),
  ])
  func expertsMayBeDivided(_ ranks: Ranks) async throws {
    // The fixture's model with a number of experts that can be.
    let fixture = try modelFolder(ranks.model)
    guard case .object(var config) = fixture.config else { return }
    config[config["num_experts"] == nil ? "n_routed_experts" : "num_experts"] = 8
    if config["n_group"] != nil { (config["n_group"], config["topk_group"]) = (4, 2) }
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: url) }
    try writeRandomModel(.object(config), to: url, seed: 3)
    try await compare(ranks, HuggingFaceFolder(url))
  }

  private func compare(_ ranks: Ranks, _ folder: HuggingFaceFolder) async throws {
    func engine(_ ranks: Ranks) throws -> Engine {
      var options = EngineOptions(pageSize: 4, maxTotalTokens: 512, chunkedPrefillSize: 16, randomSeed: 5)
      (options.tensorParallelSize, options.expertParallelSize) = (ranks.tensor, ranks.expert)
      (options.maxRunningRequests, options.collectiveTimeout) = (8, .seconds(30))
      return try Engine(folder: folder, tokenizer: nil, options: options)
    }
    let (whole, divided) = (try engine(Ranks(model: ranks.model, tensor: 1)), try engine(ranks))
    let vocabulary = try await whole.status().vocabularySize
    var requests = randomRequests(12, seed: 3, vocabulary: vocabulary)
    for i in requests.indices { (requests[i].logProbStart, requests[i].returnLogProbs) = (i % 2 == 0 ? 0 : nil, true) }
    let expected = try await generateAll(whole, requests)
    for (found, wanted) in zip(try await generateAll(divided, requests), expected) {
      #expect(found.outputTokens == wanted.outputTokens && found.finishReason == wanted.finishReason)
      let pairs = zip(found.inputLogProbs + found.outputLogProbs, wanted.inputLogProbs + wanted.outputLogProbs)
      for (found, wanted) in pairs {
        #expect(found.token == wanted.token && abs((found.logProb ?? 0) - (wanted.logProb ?? 0)) < 1e-4)
      }
    }
    try await expectIdle(divided)
  }

  @Test func impossibleSizesAreRefused() throws {
    func message(_ model: String, tensor: Int, expert: Int = 1) throws -> String {
      var options = EngineOptions(maxTotalTokens: 64)
      (options.tensorParallelSize, options.expertParallelSize) = (tensor, expert)
      let folder = try modelFolder(model)
      do {
        _ = try Engine(folder: folder, tokenizer: nil, options: options)
        return ""
      } catch { return "\(error)" }
    }
    #expect(try message("qwen3-untied-3-heads", tensor: 2).contains("does not divide num_attention_heads 3"))
    #expect(try message("qwen3-moe", tensor: 2, expert: 3).contains("--ep-size 3 does not divide --tp-size 2"))
    #expect(try message("qwen3-moe", tensor: 1, expert: 2).contains("raise --tp-size"))
    #expect(try message("llama3-gqa", tensor: 2, expert: 2).contains("has no experts"))
  }
}

/// Weights of an engine of several ranks.
@Suite struct TensorParallelWeightTests {
  /// An update reaches every rank's part, is read back whole, and memory that was let go of comes back.
  @Test(arguments: [("llama3-gqa", 2), ("llama3-gqa", 4), ("qwen3-moe", 2), ("deepseek-v3", 2)])
  func updatesReachEveryRank(_ name: String, ranks: Int) async throws {
    let folder = try modelFolder(name)
    var options = EngineOptions(pageSize: 4, maxTotalTokens: 512)
    (options.tensorParallelSize, options.collectiveTimeout) = (ranks, .seconds(30))
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    options.tensorParallelSize = 1
    let whole = try Engine(folder: folder, tokenizer: nil, options: options)
    let generator = Generator(seed: 8)
    var new: [NamedBytes] = []
    for name in try await whole.weightNames() {
      let old = try #require(try await whole.weight(named: name))
      let found = try #require(try await engine.weight(named: name))
      #expect(found.shape == old.shape && found.dtype == old.dtype && found.bytes == old.bytes, "\(name)")
      let tensor = Tensor.randn(old.shape, generator: generator).mul_(0.2)
      new.append(NamedBytes(name, dtype: .float32, shape: old.shape, bytes: tensor.withBytes { Data($0) }))
    }
    try await engine.releaseMemory(Set(MemoryTag.allCases))
    try await engine.resumeMemory(Set(MemoryTag.allCases))
    for target in [engine, whole] {
      try await target.beginWeightUpdate()
      try await target.updateWeights(new)
      try await target.endWeightUpdate(version: "2")
    }
    for weight in new { #expect(try await engine.weight(named: weight.name)?.bytes == weight.bytes, "\(weight.name)") }
    var requests = randomRequests(4, seed: 1, vocabulary: try await whole.status().vocabularySize)
    for i in requests.indices { requests[i].sampling.temperature = 0 }
    let expected = try await generateAll(whole, requests)
    for (found, wanted) in zip(try await generateAll(engine, requests), expected) {
      #expect(found.outputTokens == wanted.outputTokens && found.weightVersion == "2")
    }
  }
}
