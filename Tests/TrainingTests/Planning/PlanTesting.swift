import JSON
import Models
import Parallelism
import Torch
import Training

/// What the tests of plans share.
protocol PlanTesting {}

/// The config.json of small models: dense, a mixture of experts, one with latent attention besides, one with layers of gated
/// delta rule.
enum PlannedModels {
  static let dense: JSONValue = [
    "model_type": "qwen3", "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
  ]
  static let mixture: JSONValue = [
    "model_type": "qwen3_moe", "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "num_experts": 8, "num_experts_per_tok": 2,
    "moe_intermediate_size": 16, "norm_topk_prob": true,
  ]
  static let hybrid: JSONValue = [
    "model_type": "qwen3_5_text", "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "linear_num_key_heads": 2,
    "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8,
  ]
  static let latent: JSONValue = [
    "model_type": "deepseek_v3", "vocab_size": 67, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "n_shared_experts": 1, "first_k_dense_replace": 1, "kv_lora_rank": 12, "q_lora_rank": 16, "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 4, "v_head_dim": 8, "n_group": 4, "topk_group": 2, "norm_topk_prob": true,
  ]
}

extension PlanTesting {
  func model(_ json: JSONValue) throws -> ModelConfiguration { try ModelRegistry.configuration(json, source: "test") }

  func options(_ dtype: DType = .float32) throws -> TrainingOptions {
    var options = TrainingOptions(
      schedule: try LearningRateSchedule(
        initial: 0, peak: 1, minimum: 0, warmupSteps: 0, decaySteps: 1, decay: .constant),
      globalBatchSize: 8, batching: .fixed(microBatchSize: 2))
    options.computeType = dtype
    return options
  }

  func work(_ layout: ParallelLayout, length: Int = 32) -> PlannedWork {
    PlannedWork(
      batching: .fixed(microBatchSize: 2), globalBatchSize: 8, averageLength: length, responseLength: length,
      dataParallelSize: layout.dataParallelSize, contextParallelSize: layout.contextParallelSize)
  }
}
