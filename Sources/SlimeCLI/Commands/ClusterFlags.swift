import Orchestration

extension ClusterConfiguration {
  /// The trainer's side, which `score` has too.
  static let trainerFlags: [Flag<Self>] = [
    .option("actor-num-nodes", \.actorNodes, "machines of the trainer"),
    .option("actor-num-gpus-per-node", \.actorGPUsPerNode, "trainer ranks on each machine; on --device cpu, processes"),
    .option("distributed-backend", \.distributedBackend, "collectives; default gloo on cpu, nccl on cuda"),
    .option("distributed-timeout-minutes", \.distributedTimeoutMinutes, "MIN", "how long a collective waits for a rank"),
  ]

  static let rolloutFlags: [Flag<Self>] = [
    .option("rollout-num-gpus", \.rolloutGPUs, "devices of all engines; default one engine's, or with --colocate the trainer's"),
    .option("rollout-num-gpus-per-engine", \.rolloutGPUsPerEngine, "devices of one engine, which split each layer")
      .also("sglang-tp-size", "sglang-tensor-parallel-size", "sglang-tp"),
    .option("sglang-dp-size", \.engines, "engines; default as many as --rollout-num-gpus has room for")
      .also("sglang-data-parallel-size", "sglang-dp"),
    .toggle("colocate", \.colocate, "trainer and engines share their devices"),
    .decision(
      "offload-train", [\.offloadsTrainer], sets: true,
      "the optimizer waits in host memory while engines work; default on shared GPUs"),
    .decision("no-offload-train", [\.offloadsTrainer], sets: false, "it stays on the GPUs"),
    .decision(
      "offload-rollout", [\.offloadsEngines], sets: true,
      "engines give their memory back while the trainer works; default on shared GPUs"),
    .decision("no-offload-rollout", [\.offloadsEngines], sets: false, "they keep them"),
    .decision("offload", [\.offloadsTrainer, \.offloadsEngines], sets: true, "both"),
    .toggle("rollout-external", \.usesExternalEngines, "start no engine: use those of --rollout-external-engine-addrs"),
    .list("rollout-external-engine-addrs", \.externalEngines, "ADDR", "HOST:PORT of servers of the model: slime serve, or SGLang's"),
  ]
}

extension BackendConfiguration {
  static let computeFlags: [Flag<Self>] = [
    .option("train-backend", \.trainBackend, "training backend"),
    .option("device", \.device, "where everything runs"),
    .option("dtype", \.dtype, "precision of matrix products; default float32 on cpu, bfloat16 on cuda"),
    .shorthand("bf16", for: "dtype", \.dtype, .bfloat16),
    .shorthand("fp16", for: "dtype", \.dtype, .float16),
    .toggle("deterministic-mode", \.isDeterministic, "equal bits in every run, and however samples are packed; slower"),
  ]

  static let maxTokensPerGPU = Flag<Self>.option("max-tokens-per-gpu", \.maxTokensPerGPU, "most tokens of a micro-batch")

  static let batchFlags: [Flag<Self>] = [
    .option("micro-batch-size", \.microBatchSize, "samples of a micro-batch of fixed size"),
    .toggle("use-dynamic-batch-size", \.useDynamicBatchSize, "pack samples into micro-batches by --max-tokens-per-gpu"),
    maxTokensPerGPU,
    .toggle("balance-data", \.balanceData, "deal micro-batches so that ranks have equal work"),
    .toggle("balance-by-flops", \.balanceByFLOPs, "fill micro-batches so that each has equal work, and deal them so"),
    .toggle("gradient-checkpointing", \.gradientCheckpointing, "compute activations again instead of keeping them"),
  ]

  static let attentionFlags: [Flag<Self>] = [
    .option("attn-implementation", \.attention, "kernel of attention"),
    .option("attention-backend", \.attentionBackend, "the same by Megatron's names"),
  ]

  static let fsdpFlags: [Flag<Self>] = [
    .toggle("fsdp-cpu-offload", \.fsdp.offloadsToHost, "parameters, gradients and optimizer stay in host memory"),
    .option("fsdp-shard-size", \.fsdp.shardSize, "ranks that share a copy of the weights; default all"),
  ]

  static let weightUpdateFlags: [Flag<Self>] = [
    .option("update-weight-buffer-size", \.updateWeightBufferSize, "BYTES", "parameters sent to the engine at a time"),
    .option("update-weight-transport", \.updateWeightTransport, "how: at once, through a folder, or in requests to servers; default nccl"),
    .option("update-weight-disk-dir", \.weightFolder, "FOLDER", "where disk publishes them, seen by the engines too"),
    .option("update-weight-mode", \.updateWeightMode, "whole checkpoints, or what changed; with disk"),
    .option("update-weight-local-checkpoint-dir", \.localWeightFolder, "DIR", "an engine's own copy, which deltas change"),
    .option("update-weight-delta-encoding", \.deltaEncoding, "NAME", "of what changed: xor (default) or overwrite"),
    .option("update-weight-delta-checksum", \.deltaChecksum, "NAME", "of each changed tensor: xxh64 (default) or adler32"),
    .toggle("update-weight-disk-keep-files", \.keepsWeightFiles, "what engines have read stays there"),
    .option("update-weights-interval", \.updateWeightsInterval, "rollouts between weight updates"),
  ]
}

extension ParallelConfiguration {
  /// What only training has.
  static let trainingFlags: [Flag<Self>] = [
    .option("moe-router-load-balancing-type", \.routerBalancing, "what keeps experts equally busy"),
    .option("moe-aux-loss-coeff", \.balanceCoefficient, "weight of that loss"),
    .option("moe-z-loss-coeff", \.zLossCoefficient, "weight of the loss that keeps router logits small"),
    .toggle("use-routing-replay", \.routingReplay, "train with the experts that the log-prob pass chose"),
    .toggle("use-rollout-routing-replay", \.rolloutRoutingReplay, "train with the experts that the engine chose"),
  ]

  static let flags: [Flag<Self>] = [
    .option("tensor-model-parallel-size", \.tensorParallelSize, "ranks that split each layer's weights"),
    .toggle("sequence-parallel", \.sequenceParallel, "those ranks split the sequence outside attention and feed-forward"),
    .option("pipeline-model-parallel-size", \.pipelineParallelSize, "stages that the layers are divided into"),
    .option("num-layers-per-virtual-pipeline-stage", \.layersPerVirtualStage, "layers of each of a stage's chunks"),
    .option("decoder-first-pipeline-num-layers", \.firstStageLayers, "layers of the first stage"),
    .option("decoder-last-pipeline-num-layers", \.lastStageLayers, "layers of the last stage"),
    .option("context-parallel-size", \.contextParallelSize, "ranks that split each sequence"),
    .option("expert-model-parallel-size", \.expertParallelSize, "ranks that divide the experts"),
    .option("expert-tensor-parallel-size", \.expertTensorParallelSize, "ranks that split each expert; default as tensor"),
    .option("recompute-granularity", \.recomputeGranularity, "compute again in the backward: whole layers, or attention"),
    .option("recompute-method", \.recomputeMethod, "all layers in groups, or the first of each stage"),
    .option("recompute-num-layers", \.recomputeLayers, "layers of a group, or how many"),
    .option("qkv-format", \.sequenceFormat, "sequences packed one after another, or padded to the longest"),
  ]
}
