import Orchestration

extension ScoreConfiguration {
  package static let flags = FlagSet<Self>(
    [
      (
        "Score",
        [
          .option("hf-checkpoint", \.hfCheckpoint, "FOLDER", "Hugging Face folder of the model (required)"),
          .option("custom-model-provider-path", \.modelProvider, "NAME", "library (FILE.so) or registered name of what builds the model"),
          .option("input", \.input, "FILE", "jsonl of {\"tokens\": [...]} or {\"text\": \"...\"} (required)"),
          .option("output", \.output, "FILE", "jsonl of tokens, log_probs and entropy (required)"),
        ]
      ),
      (
        "Cluster",
        (BackendConfiguration.computeFlags + BackendConfiguration.attentionFlags + [BackendConfiguration.maxTokensPerGPU])
          .map { $0.lifted(\.backend) }
          + ClusterConfiguration.trainerFlags.map { $0.lifted(\.cluster) }
      ),
      ("Parallelism", ParallelConfiguration.flags.map { $0.lifted(\.backend.parallel) }),
    ],
    unsupported: .train, architecture: \Self.architecture)
}

extension Command {
  static let score = Command(
    name: "score", summary: "log-probabilities and entropies of given tokens, as the training backend computes them",
    usage: "slime score --hf-checkpoint FOLDER --input FILE --output FILE [flags]",
    notes: "log_probs[i] is the natural log-probability of token i+1 given tokens 0 to i.",
    flags: ScoreConfiguration.flags, configuration: ScoreConfiguration()
  ) { configuration in
    try configuration.validate()
    try await Run.score(configuration)
  }
}
