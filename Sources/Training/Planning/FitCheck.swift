import Parallelism

extension PlannedRank {
  /// Why this rank cannot run, in one sentence that names the largest part and what to change; nil: it fits.
  /// - Parameter available: bytes.
  public func refusal(
    available: Double, on device: String, backend: PlannedBackend, options: TrainingOptions
  ) -> String? {
    guard Double(memory.total) > available else { return nil }
    let largest = memory.parts.max { $0.bytes < $1.bytes }!
    return "stage \(stage) needs \(gibibytes(memory.total)) GiB a rank and \(device) has "
      + "\(gibibytes(Int(available))) GiB for it; the largest part is \(gibibytes(largest.bytes)) GiB of \(largest.name): "
      + advice(largest.name, backend, options)
  }

  private func advice(_ part: String, _ backend: PlannedBackend, _ options: TrainingOptions) -> String {
    switch (part, backend) {
    case ("activations", .megatron) where [.none, .selective].contains(options.megatron.recomputation):
      "add --recompute-granularity full --recompute-method uniform"
    case ("activations", .fsdp) where !options.gradientCheckpointing: "add --gradient-checkpointing"
    case ("activations", _): fewerTokens(options) + ", or raise --context-parallel-size"
    case ("working memory", .megatron): fewerTokens(options) + ", or raise --tensor-model-parallel-size"
    case ("working memory", .fsdp): fewerTokens(options) + ", or raise --context-parallel-size"
    case ("KV cache", _): "lower --sglang-max-total-tokens, or leave out --colocate"
    case ("engine weights", _): "leave out --colocate"
    case ("critic", _): "raise --actor-num-nodes, over whose ranks actor and critic are divided"
    case ("gradients", _) where takesPrecision(options) && options.precision.gradients == .float32,
      ("optimizer", _) where takesPrecision(options) && options.precision.firstMoments == .float32:
      "add --use-precision-aware-optimizer with --main-grads-dtype, --exp-avg-dtype and --exp-avg-sq-dtype bf16, or raise "
        + "--actor-num-nodes"
    case ("optimizer", .megatron):
      "add --optimizer-cpu-offload, or raise --actor-num-nodes"
    case ("buffers", .megatron):
      "raise --actor-num-nodes, --tensor-model-parallel-size or --pipeline-model-parallel-size"
    case (_, .megatron): "raise --pipeline-model-parallel-size or --tensor-model-parallel-size"
    case (_, .fsdp): "raise --actor-num-nodes, over whose ranks the weights are sharded"
    }
  }

  private func takesPrecision(_ options: TrainingOptions) -> Bool { options.computeType == .bfloat16 }

  private func fewerTokens(_ options: TrainingOptions) -> String {
    if case .fixed = options.batching { "lower --micro-batch-size" } else { "lower --max-tokens-per-gpu" }
  }
}

/// With one decimal.
public func gibibytes(_ bytes: Int) -> String {
  let tenths = Int((Double(bytes) / Double(1 << 30) * 10).rounded())
  return "\(tenths / 10).\(tenths % 10)"
}
