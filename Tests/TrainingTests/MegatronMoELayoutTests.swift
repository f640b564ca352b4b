import Checkpoints
import JSON
import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// Mixtures of experts: any layout against one rank, as `MegatronLayoutTests` does for dense models.
@Suite struct MegatronMoELayoutTests {
  /// Qwen3-MoE with a dense layer among the mixtures.
  static let qwen3: JSONValue = [
    "model_type": "qwen3_moe", "num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "norm_topk_prob": true, "mlp_only_layers": [1],
  ]
  /// A gated shared expert.
  static let qwen2: JSONValue = [
    "model_type": "qwen2_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 20, "norm_topk_prob": false,
  ]
  /// Latent attention, groups, constants for choosing, a shared expert, dense layers first.
  static let deepseek: JSONValue = [
    "model_type": "deepseek_v3", "q_lora_rank": 12, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 6, "n_routed_experts": 8, "num_experts_per_tok": 3, "n_group": 4, "topk_group": 2,
    "n_shared_experts": 1, "moe_intermediate_size": 12, "first_k_dense_replace": 1, "routed_scaling_factor": 1.5,
    "norm_topk_prob": true, "num_key_value_heads": 4, "num_nextn_predict_layers": 0,
  ]

  private static let batches = (0..<3).map { randomBatch(samples: 16, seed: UInt64($0)) }
  private static let sequences = (1...9).map { length in (0..<length * 2).map { Int32(($0 * 7 + length) % 67) } }

  private struct Reference: Sendable {
    let model: TinyModel
    let outcome: LayoutOutcome

    init(_ changes: JSONValue) async throws {
      model = try TinyModel(changes)
      outcome = try await run(model, Layout(), MegatronMoELayoutTests.batches, scoring: MegatronMoELayoutTests.sequences)
    }
  }

  private static let qwen3Reference = Task { try await Reference(qwen3) }
  private static let qwen2Reference = Task { try await Reference(qwen2) }
  private static let deepseekReference = Task { try await Reference(deepseek) }

  private func expectSame(_ layout: Layout, _ reference: Reference) async throws {
    let found = try await run(reference.model, layout, Self.batches, scoring: Self.sequences)
    expectEqual(found, reference.outcome, "\(layout.testDescription)")
    #expect(found.scores.map(\.index) == reference.outcome.scores.map(\.index))
    for (found, expected) in zip(found.scores, reference.outcome.scores) {
      let pairs = zip(found.logProbs + found.entropy, expected.logProbs + expected.entropy)
      let worst: Float = pairs.map { abs($0 - $1) }.max() ?? 0
      #expect(found.logProbs.count == expected.logProbs.count && worst < 1e-4, "\(layout.testDescription): \(worst)")
    }
  }

  private static func virtual(_ layers: Int) -> MegatronOptions { MegatronLayoutTests.options(perVirtualStage: layers) }
  private static func again(_ recomputation: Recomputation) -> MegatronOptions { MegatronLayoutTests.options(recomputation) }

  static let layouts = [
    Layout(data: 2, expert: 2), Layout(data: 2, expertTensor: 2), Layout(data: 4, expert: 2), Layout(data: 4, expert: 4),
    Layout(data: 4, expert: 2, expertTensor: 2), Layout(data: 8, expert: 8), Layout(context: 2, expert: 2),
    Layout(context: 2, expertTensor: 2), Layout(pipeline: 2, data: 2, expert: 2),
    Layout(pipeline: 3, options: MegatronLayoutTests.options(first: 1, last: 1)),
    Layout(pipeline: 2, data: 2, expert: 2, options: virtual(1)), Layout(tensor: 2, sequence: true),
    Layout(tensor: 2, sequence: true, expert: 2, expertTensor: 1), Layout(tensor: 2, sequence: true, expertTensor: 1),
    Layout(tensor: 4, sequence: true, expert: 2, expertTensor: 2), Layout(tensor: 2, sequence: true, data: 2, expert: 2),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, expert: 4, expertTensor: 1),
    Layout(tensor: 2, sequence: true, context: 2, data: 2, expert: 2, expertTensor: 2),
    Layout(context: 2, pipeline: 2, data: 2, expert: 2, options: again(.uniform(layers: 1))),
    Layout(tensor: 2, sequence: true, data: 2, expert: 2, options: again(.uniform(layers: 2))),
    Layout(data: 2, expert: 2, options: again(.block(layers: 1))), Layout(options: again(.uniform(layers: 2))),
    Layout(tensor: 2, sequence: true, context: 2, expert: 4, expertTensor: 1, options: again(.selective)),
    Layout(tensor: 2, sequence: true, pipeline: 2, expert: 2, expertTensor: 1, format: .padded),
    Layout(data: 2, expert: 2, tokensPerPack: 10),
  ]

  @Test(arguments: layouts) func tenStepsAreThoseOfOneRank(_ layout: Layout) async throws {
    try await expectSame(layout, Self.qwen3Reference.value)
  }

  @Test(arguments: [
    Layout(tensor: 4, sequence: true, expert: 4, expertTensor: 1),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, expert: 2, options: again(.uniform(layers: 1))),
  ]) func withAGatedSharedExpert(_ layout: Layout) async throws {
    try await expectSame(layout, Self.qwen2Reference.value)
  }

  @Test(arguments: [
    Layout(context: 2, expert: 2), Layout(tensor: 2, sequence: true),
    Layout(tensor: 4, sequence: true, expert: 4, expertTensor: 1), Layout(pipeline: 2, data: 2, expert: 2),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, expert: 2, options: again(.uniform(layers: 1))),
  ]) func withLatentAttention(_ layout: Layout) async throws {
    try await expectSame(layout, Self.deepseekReference.value)
  }

  /// Losses that do not depend on how samples are packed, in the metrics and, through their gradients, in the weights.
  @Test(arguments: [
    Layout(data: 2, expert: 2), Layout(tensor: 2, sequence: true, context: 2), Layout(pipeline: 2, data: 2, expert: 2),
    Layout(context: 2, options: again(.uniform(layers: 1))), Layout(context: 2, data: 2, isFSDP: true),
  ]) func lossesOfRouters(_ layout: Layout) async throws {
    let model = try TinyModel(Self.qwen3)
    // FSDP decays norms and biases too.
    func train(_ layout: Layout) async throws -> LayoutOutcome {
      try await run(model, layout, Self.batches) { options in
        (options.routerLosses.sequenceBalance, options.routerLosses.z, options.optimizer.weightDecay) = (0.1, 0.1, 0)
      }
    }
    let expected = try await train(Layout())
    #expect(expected.steps.allSatisfy { $0["seq_load_balancing_loss"]! > 0.5 && $0["z_loss"]! > 0.1 })
    expectEqual(try await train(layout), expected, layout.testDescription)
  }

  /// The constants that experts are chosen with come back as they were.
  @Test func constantsStay() async throws {
    let reference = try await Self.deepseekReference.value
    let stored = try HuggingFaceFolder(reference.model.url).weights()
    var seen = 0
    for (name, values) in reference.outcome.weights where name.hasSuffix("e_score_correction_bias") {
      #expect(try values == stored.tensor(name).array())
      seen += 1
    }
    #expect(seen == 3)
  }

  /// FSDP gathers experts whole; it trains the same model.
  @Test(arguments: [(1, false), (2, false), (2, true)]) func fullySharded(ranks: Int, checkpointing: Bool) async throws {
    let model = try TinyModel(Self.deepseek)
    // FSDP decays norms and biases too.
    let adam = AdamW.Options(beta1: 0.9, beta2: 0.95, weightDecay: 0)
    let wanted = try await run(model, Layout(), Self.batches) { $0.optimizer = adam }
    let found = try await runGroup(ranks, timeout: .seconds(60)) { group in
      var options = try TrainingOptions(
        schedule: LearningRateSchedule(peak: 2e-3, decaySteps: 1000), globalBatchSize: 8,
        batching: .dynamic(maxTokensPerDevice: 40))
      (options.optimizer, options.gradientCheckpointing) = (adam, checkpointing)
      let backend = try FSDPBackend(HuggingFaceFolder(model.url), options: options, parallel: try dataParallel(group))
      let trainer = PolicyTrainer(backend, options: options)
      for batch in Self.batches { _ = try trainer.train(batch) }
      var weights: [String: [Float]] = [:]
      try backend.forEachWeight { weights[$0] = $1.array() }
      return weights
    }
    let (name, error) = distance(found[0], wanted.weights)
    #expect(error < 1e-4, "\(name) differs by \(error)")
  }

  @Test(arguments: [
    (Layout(data: 3, expert: 3), "--expert-model-parallel-size"),
    (Layout(data: 5, expertTensor: 5), "--expert-tensor-parallel-size"),
  ]) func impossibleLayoutsAreRefused(_ layout: Layout, flag: String) throws {
    let model = try TinyModel(Self.qwen3)
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(model.url))
    let parallel = ParallelContext.imagined(try layout.parallel(), rank: 0)
    let error = #expect(throws: ModelError.self) { try CausalLM(configuration, parallel: parallel, dtype: .float32) }
    #expect(error?.description.contains(flag) == true)
  }

  @Test func splitLayersNeedASplitSequence() throws {
    let model = try TinyModel(Self.qwen3)
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(model.url))
    let error = #expect(throws: ModelError.self) {
      try MegatronBackend.check(configuration, Layout(tensor: 2).parallel(), MegatronOptions())
    }
    #expect(error?.description.contains("--sequence-parallel") == true)
  }

  @Test func denseModelsHaveNoExpertsToDivide() throws {
    let model = try TinyModel()
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(model.url))
    let parallel = ParallelContext.imagined(try Layout(data: 2, expert: 2).parallel(), rank: 0)
    #expect(throws: ModelError.self) { try CausalLM(configuration, parallel: parallel, dtype: .float32) }
  }
}
