import Orchestration

extension PlanConfiguration {
  package static let flags: FlagSet<Self> = {
    let own: [Flag<Self>] = [
      .option("gpu", \.gpu, "the GPU to plan for"),
      .option("network", \.network, "GBIT", "bandwidth of each GPU between machines, Gbit/s"),
      .option("average-tokens", \.averageTokens, "TOKENS", "of a sample, with its prompt; default the longest possible"),
      .option("rank", \.rank, "the one rank to plan; default the first of every stage"),
    ]
    return FlagSet(
      [("Plan", own)] + TrainConfiguration.flags.sections.map { section in
        (section.title, section.flags.map { $0.lifted(\PlanConfiguration.train) })
      },
      unsupported: .train, architecture: \PlanConfiguration.train.architecture)
  }()
}

extension Command {
  static let plan = Command(
    name: "plan", summary: "memory, work, messages and time of a launch of train, without running it",
    usage: "slime plan --hf-checkpoint FOLDER --actor-num-nodes N --global-batch-size N [flags of slime train]",
    notes: """
      Runs the real code of a rank of each pipeline stage without memory, and counts. The folder needs a config.json only. It
      plans for --device cuda unless told otherwise. A launch that cannot fit ends with exit code 2 and says what to change.
      """,
    flags: PlanConfiguration.flags, configuration: PlanConfiguration()
  ) { configuration in
    try configuration.validate()
    try Orchestration.Plan.run(configuration)
  }
}
