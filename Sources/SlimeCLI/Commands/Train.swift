import Orchestration

extension TrainConfiguration {
  package static let flags = FlagSet<Self>(
    [
      ("Model and checkpoints", CheckpointConfiguration.flags.map { $0.lifted(\.checkpoint) }),
      (
        "Cluster",
        BackendConfiguration.computeFlags.map { $0.lifted(\.backend) }
          + (ClusterConfiguration.trainerFlags + ClusterConfiguration.rolloutFlags).map { $0.lifted(\.cluster) }
      ),
      ("Parallelism", (ParallelConfiguration.flags + ParallelConfiguration.trainingFlags).map { $0.lifted(\.backend.parallel) }),
      ("Data", DataConfiguration.flags.map { $0.lifted(\.data) }),
      ("Rollout", SamplingConfiguration.flags.map { $0.lifted(\.rollout) }),
      (
        "Engine",
        EngineConfiguration.flags(prefix: "sglang-").map { $0.lifted(\.engine) } + [
          .option("sglang-server-concurrency", \.serverConcurrency, "requests in flight at one engine")
        ] + BackendConfiguration.weightUpdateFlags.map { $0.lifted(\.backend) }
      ),
      ("Evaluation", EvalConfiguration.flags.map { $0.lifted(\.eval) }),
      ("Algorithm", AlgorithmConfiguration.flags.map { $0.lifted(\.algorithm) }),
      ("Distillation", DistillationConfiguration.flags.map { $0.lifted(\.distillation) }),
      ("Critic (--advantage-estimator ppo)", CriticConfiguration.flags.map { $0.lifted(\.critic) }),
      (
        "Batches",
        [
          .option("global-batch-size", \.globalBatchSize, "samples of an optimizer step"),
          .option("num-steps-per-rollout", \.stepsPerRollout, "optimizer steps on a rollout, instead; default 1"),
        ] + (BackendConfiguration.batchFlags + BackendConfiguration.attentionFlags + BackendConfiguration.fsdpFlags).map {
          $0.lifted(\.backend)
        }
      ),
      ("Optimizer", OptimizerConfiguration.flags.map { $0.lifted(\.optimizer) }),
      ("Debugging", DebugConfiguration.flags.map { $0.lifted(\.debug) }),
    ],
    unsupported: .train, architecture: \Self.architecture)
}

extension Command {
  static let train = Command(
    name: "train", summary: "train a model with reinforcement learning, or on messages (--loss-type sft_loss)",
    usage: "slime train --hf-checkpoint FOLDER --prompt-data FILE --rollout-batch-size N --num-rollout N [flags]",
    notes: """
      These are slime's flags; where a default differs from slime's, it fits one machine. slime's, Megatron's and SGLang's
      other flags are known too: one that would change something is refused with what to do instead. Flags of the model's
      architecture (--num-layers and such) may be given, but must agree with config.json.
      """,
    flags: TrainConfiguration.flags, configuration: TrainConfiguration()
  ) { configuration in
    try configuration.validate()
    try configuration.validateFiles()
    try await Run.train(configuration)
  }
}
