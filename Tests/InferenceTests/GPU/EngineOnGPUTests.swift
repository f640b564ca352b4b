import Benchmarks
import Checkpoints
import Foundation
import Inference
import JSON
import Models
import TestSupport
import Testing
import Torch

/// Our kernels against the operators that they stand for, on random numbers.
@Suite(.serialized, .onGPU) struct KernelsOnGPUTests {
  @Test func kernelsAreAsExactAsOperators() throws {
    let rows = try KernelsBenchmark.run(device: GPU.open())
    #expect(rows.count > 30)
  }
}

/// Engines on a GPU against what the CPU computes.
@Suite(.serialized, .onGPU) struct EngineOnGPUTests {
  /// In fp32, the tokens that `transformers` generates greedily on a CPU.
  @Test(arguments: ["qwen3-tied", "llama3-gqa", "qwen3-moe", "deepseek-v3", "gemma2", "gpt-oss", "qwen3-next", "mistral-window"])
  func greedyIsThatOfTransformers(_ name: String) async throws {
    let device = try GPU.open()
    try await EngineParityTests.expectGreedyTokens(
      of: name, EngineOptions(dtype: .float32, device: device, pageSize: 4, maxTotalTokens: 2048, chunkedPrefillSize: 8),
      returnLogProbs: true)
  }

  /// Heads of 64 numbers, which our kernels take.
  static func writeModel(hasExperts: Bool = false, to folder: URL) throws {
    let config: JSONValue = [
      "architectures": [hasExperts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM"],
      "model_type": hasExperts ? "qwen3_moe" : "qwen3", "vocab_size": 1024, "hidden_size": 256,
      "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128,
      "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
      "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000, "max_position_embeddings": 1024,
      "initializer_range": 0.1, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    ]
    try writeRandomModel(config, to: folder, seed: 3)
  }

  /// In bf16, by kernels of ours and recorded steps or without: log-probabilities are as near those of fp32 on a CPU as bf16's
  /// there, for batches of sizes that are recorded and others.
  @Test(arguments: [0, 32], [false, true])
  func logProbsAreNearThoseOfTheCPU(recordedBatch: Int, hasExperts: Bool) async throws {
    let device = try GPU.open()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.writeModel(hasExperts: hasExperts, to: folder)
    let reference = try ReferenceModel(HuggingFaceFolder(folder))
    let rounded = try ReferenceModel(HuggingFaceFolder(folder), dtype: .bfloat16)
    var options = EngineOptions(dtype: .bfloat16, device: device, maxTotalTokens: 16_384, chunkedPrefillSize: 64)
    options.recordedBatch = recordedBatch
    let engine = try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options)
    for count in [1, 3, 17, 40] {
      let prompts = randomRequests(count, seed: UInt64(count), vocabulary: 1024).map(\.tokens)
      try await expectNear(prompts, engine, reference, rounded)
    }
    try await expectIdle(engine)
  }

  /// Long prompts are attended together, whatever their lengths, and beside others that decode.
  @Test func longPromptsOfABatchAreNearThoseOfTheCPU() async throws {
    let device = try GPU.open()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.writeModel(to: folder)
    let reference = try ReferenceModel(HuggingFaceFolder(folder))
    let rounded = try ReferenceModel(HuggingFaceFolder(folder), dtype: .bfloat16)
    let options = EngineOptions(dtype: .bfloat16, device: device, maxTotalTokens: 16_384, chunkedPrefillSize: 2048)
    let engine = try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options)
    for lengths in [[900], [512, 512], [700, 33, 900, 1, 512, 640], [1000, 1000, 1000, 1000, 2]] {
      let prompts = lengths.enumerated().map { index, length in (0..<length).map { ($0 * 37 + index * 101) % 1024 } }
      try await expectNear(prompts, engine, reference, rounded)
    }
    try await expectIdle(engine)
  }

  /// Tokens that are sampled after prompts have log-probabilities as near those of fp32 on a CPU as bf16's there.
  private func expectNear(
    _ prompts: [[Int]], _ engine: Engine, _ reference: ReferenceModel, _ rounded: ReferenceModel
  ) async throws {
    let requests = prompts.enumerated().map { index, tokens in
      var plain = greedy("\(index)", tokens, count: 20)
      plain.sampling.temperature = 1
      return plain
    }
    var (error, usual): (Float, Float) = (0, 0)
    for (request, output) in zip(requests, try await generateAll(engine, requests)) {
      #expect(output.outputTokens.count == 20)
      func logProbs(_ model: ReferenceModel) -> ArraySlice<Float> {
        model.logProbs(request.tokens + output.outputTokens).dropFirst(request.tokens.count - 1)
      }
      let wanted = logProbs(reference)
      error += zip(output.outputLogProbs, wanted).map { abs($0.logProb! - $1) }.reduce(0, +)
      usual += zip(logProbs(rounded), wanted).map { abs($0 - $1) }.reduce(0, +)
    }
    let count = Float(20 * prompts.count)
    #expect(error < 1.5 * usual, "\(prompts.count) requests: \(error / count), and bf16 on a CPU \(usual / count)")
  }

  /// In e4m3, with scales for outputs or for blocks, recorded steps are as near fp32 on a CPU as others are. (Those of experts
  /// with scales for blocks are not recorded.)
  @Test(arguments: [false, true], [false, true]) func recordedFloat8StepsAreTheSame(hasExperts: Bool, hasBlocks: Bool) async throws {
    let device = try GPU.open()
    let area = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: area) }
    var folder = area.appendingPathComponent("plain")
    try Self.writeModel(hasExperts: hasExperts, to: folder)
    if hasBlocks {
      let blocks = area.appendingPathComponent("blocks")
      try CheckpointConversion.toHuggingFace(HuggingFaceFolder(folder), to: blocks, quantized: true)
      folder = blocks
    }
    let reference = try ReferenceModel(HuggingFaceFolder(area.appendingPathComponent("plain")))
    let engines = try [0, 32].map { recordedBatch in
      var options = EngineOptions(dtype: .bfloat16, device: device, maxTotalTokens: 16_384, chunkedPrefillSize: 64)
      (options.recordedBatch, options.quantization) = (recordedBatch, .fp8)
      return try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options)
    }
    for count in [1, 3, 7, 17, 40] {
      let requests = randomRequests(count, seed: UInt64(count), vocabulary: 1024).enumerated().map { index, request in
        var plain = greedy(request.id, request.tokens, count: 20)
        (plain.sampling.temperature, plain.sampling.samplingSeed) = (1, index)
        return plain
      }
      var errors: [Float] = []
      for engine in engines {
        var error: Float = 0
        for (request, output) in zip(requests, try await generateAll(engine, requests)) {
          let wanted = reference.logProbs(request.tokens + output.outputTokens).dropFirst(request.tokens.count - 1)
          error += zip(output.outputLogProbs, wanted).map { abs($0.logProb! - $1) }.reduce(0, +)
        }
        errors.append(error / Float(20 * count))
      }
      #expect(
        errors[1] < 1.5 * errors[0] && errors[0] < 1.5 * errors[1],
        "\(count) requests: \(errors[1]), one by one \(errors[0])")
    }
    for engine in engines { try await expectIdle(engine) }
  }

  /// What was given back and taken again serves as before, recorded steps at the same addresses too.
  @Test(arguments: [false, true]) func memoryComesBack(keepsAddresses: Bool) async throws {
    let device = try GPU.open()
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.writeModel(to: folder)
    var options = EngineOptions(dtype: .bfloat16, device: device, maxTotalTokens: 1 << 20)
    (options.recordedBatch, options.keepsAddresses) = (8, keepsAddresses)
    let engine = try Engine(folder: HuggingFaceFolder(folder), tokenizer: nil, options: options)
    let request = greedy("a", [5, 9, 33, 60], count: 12)
    let before = try await engine.generate(request)
    let taken = try DeviceMemory.of(device).free
    try await engine.releaseMemory([.weights, .keyValueCache])
    // Keys and values of a million tokens, in three layers of two heads.
    #expect(try DeviceMemory.of(device).free > taken + (1 << 20) * 3 * 2 * 2 * 64 * 2 * 9 / 10)
    try await engine.resumeMemory([.weights])
    try await engine.resumeMemory([.keyValueCache])
    let after = try await engine.generate(request)
    #expect(after.outputTokens == before.outputTokens)
    #expect(after.outputLogProbs == before.outputLogProbs)
  }

  private func greedy(_ id: String, _ tokens: [Int], count: Int) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.ignoreEOS, sampling.maxNewTokens) = (0, true, count)
    return GenerateRequest(id: id, tokens: tokens, sampling: sampling, returnLogProbs: true)
  }
}
