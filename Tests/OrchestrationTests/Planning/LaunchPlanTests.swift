import Foundation
import JSON
import Orchestration
import TestSupport
import Testing
import Training

/// `slime plan` on folders that hold a config.json and nothing else.
@Suite struct LaunchPlanTests {
  /// DeepSeek-V3's published config.json, what is read of it.
  private static let deepseek: JSONValue = [
    "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
    "moe_intermediate_size": 2048, "num_hidden_layers": 61, "num_nextn_predict_layers": 1, "num_attention_heads": 128,
    "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256, "routed_scaling_factor": 2.5,
    "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128,
    "n_group": 8, "topk_group": 4, "num_experts_per_tok": 8, "moe_layer_freq": 1, "first_k_dense_replace": 3,
    "norm_topk_prob": true, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "hidden_act": "silu",
    "max_position_embeddings": 163840, "rms_norm_eps": 1e-6, "tie_word_embeddings": false, "rope_theta": 10000,
    "rope_scaling": [
      "type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32, "beta_slow": 1,
      "mscale": 1.0, "mscale_all_dim": 1.0,
    ],
    "attention_bias": false, "torch_dtype": "bfloat16",
  ]
  private static let qwen4B: JSONValue = [
    "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": true,
    "max_position_embeddings": 40960, "torch_dtype": "bfloat16",
  ]

  private func plan(_ config: JSONValue, _ change: (inout PlanConfiguration) -> Void) throws -> Plan {
    try withTemporaryFolder { folder in
      try config.data(.compact).write(to: folder.appendingPathComponent("config.json"))
      var configuration = PlanConfiguration()
      configuration.train.checkpoint.hfCheckpoint = folder.path
      change(&configuration)
      try configuration.validate()
      return try Plan(configuration)
    }
  }

  /// What is trained besides: its weights, and the embedding that the last stage reads a copy of.
  @Test func predictionLayersArePlanned() throws {
    func plan(trains: Bool) throws -> Plan {
      try self.plan(Self.deepseek) {
        $0.train.algorithm.trainsPredictionLayers = trains
        ($0.train.cluster.actorNodes, $0.train.cluster.actorGPUsPerNode) = (32, 8)
        $0.train.backend.parallel.pipelineParallelSize = 8
        ($0.train.backend.parallel.firstStageLayers, $0.train.backend.parallel.lastStageLayers) = (8, 5)
        ($0.train.backend.parallel.expertParallelSize, $0.train.backend.parallel.expertTensorParallelSize) = (32, 1)
        ($0.train.globalBatchSize, $0.averageTokens) = (256, 1024)
      }
    }
    let (plain, found) = (try plan(trains: false), try plan(trains: true))
    // 11.5 B of experts, attention and the projection.
    let count = found.parameterCount - plain.parameterCount
    #expect(count > 11_500_000_000 && count < 11_700_000_000)
    let (first, last) = (found.ranks[0], found.ranks[7])
    let embedding = 129280 * 7168 * 2
    let more = (last.parameterCount - plain.ranks[7].parameterCount) * 2 + embedding
    #expect(abs(last.memory.weights - plain.ranks[7].memory.weights - more) < 10_000)
    #expect(first.sentBytes["embedding"] == Double(embedding) && first.memory.weights == plain.ranks[0].memory.weights)
    #expect(last.operations > plain.ranks[7].operations && last.memory.activations > plain.ranks[7].memory.activations)
    let error = #expect(throws: ConfigurationError.self) {
      try self.plan(Self.qwen4B) {
        $0.train.algorithm.trainsPredictionLayers = true
        ($0.train.globalBatchSize, $0.averageTokens) = (8, 64)
      }
    }
    #expect("\(error!)".contains("--enable-mtp-training has nothing to train"))
  }

  @Test func deepseekV3On1024Ranks() throws {
    let start = ContinuousClock.now
    let plan = try plan(Self.deepseek) {
      ($0.train.cluster.actorNodes, $0.train.cluster.actorGPUsPerNode) = (128, 8)
      $0.train.backend.parallel.tensorParallelSize = 4
      $0.train.backend.parallel.sequenceParallel = true
      $0.train.backend.parallel.pipelineParallelSize = 16
      ($0.train.backend.parallel.firstStageLayers, $0.train.backend.parallel.lastStageLayers) = (3, 2)
      ($0.train.backend.parallel.expertParallelSize, $0.train.backend.parallel.expertTensorParallelSize) = (32, 1)
      ($0.train.backend.parallel.recomputeGranularity, $0.train.backend.parallel.recomputeMethod) = (.full, .uniform)
      ($0.train.globalBatchSize, $0.averageTokens) = (2048, 4096)
      ($0.train.backend.useDynamicBatchSize, $0.train.backend.maxTokensPerGPU) = (true, 4096)
    }
    #expect(ContinuousClock.now - start < .seconds(10))
    // 671.03 B without the layer that predicts the token after the next.
    #expect(plan.parameterCount > 671_000_000_000 && plan.parameterCount < 671_100_000_000)
    #expect(plan.ranks.count == 16 && plan.ranks[1].layers == [3..<7])
    for rank in plan.ranks {
      #expect(rank.memory.total > 1 << 30 && rank.operations > 1e14 && rank.sentBytes["expert"] ?? 1 > 0)
    }
    #expect(plan.step.seconds > 0 && abs(plan.step.bubbleShare - 15.0 / (128 + 15)) < 1e-9)
    #expect(plan.report.contains("671.03 B parameters, on 1024 ranks (tensor 4 × pipeline 16 × expert 32 × data 16)"))
    #expect(plan.refusal == nil)
  }

  /// One rank's plan is part of the launch's: the other stages set the pace, and their messages take time.
  @Test func aStepIsThatOfAllStages() throws {
    func plan(rank: Int?, gpusPerNode: Int = 4) throws -> Plan {
      try self.plan(Self.qwen4B) {
        ($0.train.cluster.actorNodes, $0.train.cluster.actorGPUsPerNode) = (4 / gpusPerNode, gpusPerNode)
        $0.train.backend.parallel.pipelineParallelSize = 4
        ($0.train.globalBatchSize, $0.averageTokens, $0.rank) = (16, 1024, rank)
      }
    }
    let (whole, one) = (try plan(rank: nil), try plan(rank: 2))
    #expect(whole.ranks.count == 4 && one.ranks.map(\.rank) == [2])
    #expect(one.step == whole.step && one.report.contains("stage"))
    let stages = whole.step.stages
    let pace = stages.map { $0.products + $0.elements + $0.messages }.max()!
    // The last stage has the vocabulary's matrix; the others wait for it, and all for the pipeline to fill.
    #expect(stages[2].bubble > stages[3].bubble && stages[3].bubble > 0)
    #expect(stages.allSatisfy { abs($0.total - $0.optimizer - pace / (1 - whole.step.bubbleShare)) < 1e-9 })
    // Messages of the inner stages: activations in, out, and their gradients; further apart they take longer.
    let sent = whole.ranks[1].sentBytes["pipeline"] ?? 0
    #expect(sent > 0 && abs(stages[1].messages - sent / 450e9) < 1e-12)
    let apart = try plan(rank: nil, gpusPerNode: 1).step.stages[1].messages
    #expect(abs(apart - sent / 50e9) < 1e-12)
  }

  @Test func enginesThatShareTheDevicesCount() throws {
    let plan = try plan(Self.qwen4B) {
      ($0.train.cluster.actorGPUsPerNode, $0.train.cluster.colocate) = (4, true)
      ($0.train.globalBatchSize, $0.averageTokens, $0.train.engine.maxTotalTokens) = (8, 1024, 500_000)
    }
    // 147,456 bytes a token.
    #expect(plan.ranks[0].memory.cache == 500_000 * 147_456)
    #expect(plan.ranks[0].memory.engineWeights == 2 * plan.parameterCount)
    #expect(plan.refusal?.description.contains("KV cache: lower --sglang-max-total-tokens") == true)
  }

  /// Weights and KV cache of an engine in e4m3: a byte a number of the linear layers, and a scale for each of their outputs.
  @Test func enginesInFloat8TakeLess() throws {
    let plan = try plan(Self.qwen4B) {
      ($0.train.cluster.actorGPUsPerNode, $0.train.cluster.colocate) = (4, true)
      ($0.train.globalBatchSize, $0.averageTokens, $0.train.engine.maxTotalTokens) = (8, 1024, 500_000)
      ($0.train.engine.quantization, $0.train.engine.kvCacheType) = (.fp8, .float8e4m3)
    }
    #expect(plan.ranks[0].memory.cache == 500_000 * 147_456 / 2)
    let (attention, feedForward) = ((4096 + 2 * 1024 + 4096) * 2560, 3 * 9728 * 2560)
    let outputs = 4096 + 2 * 1024 + 2560 + 2 * 9728 + 2560
    #expect(plan.ranks[0].memory.engineWeights == 2 * plan.parameterCount - 36 * (attention + feedForward) + 36 * 4 * outputs)
  }

  @Test func stepsThatCannotBeDealtOutAreRefused() throws {
    #expect(throws: ConfigurationError.self) {
      try plan(Self.qwen4B) { ($0.train.cluster.actorGPUsPerNode, $0.train.globalBatchSize) = (8, 12) }
    }
  }

  @Test func whatCannotFitIsRefusedWithWhatToChange() throws {
    let fitting = try plan(Self.qwen4B) {
      ($0.train.globalBatchSize, $0.averageTokens) = (8, 1024)
    }
    // With 18 bytes each they are 67 GiB, and a device has 77.
    #expect(fitting.parameterCount == 4_022_468_096)
    #expect(fitting.refusal == nil, "\(fitting.report)")
    let activations = try plan(Self.qwen4B) {
      $0.train.cluster.actorGPUsPerNode = 8
      ($0.train.globalBatchSize, $0.averageTokens) = (8, 32768)
    }
    let sentence = activations.refusal?.description ?? ""
    #expect(sentence.contains("GiB of activations") && sentence.contains("--recompute-granularity full"), "\(sentence)")
    #expect(activations.refusal?.exitCode == 2)
    let recomputed = try plan(Self.qwen4B) {
      $0.train.cluster.actorGPUsPerNode = 8
      ($0.train.globalBatchSize, $0.averageTokens) = (8, 32768)
      ($0.train.backend.parallel.recomputeGranularity, $0.train.backend.parallel.recomputeMethod) = (.full, .uniform)
    }
    #expect(recomputed.ranks[0].memory.activations < activations.ranks[0].memory.activations / 4)
  }
}
