import Orchestration

extension Command {
  static let demo = Command(
    name: "demo", summary: "teach a small model arithmetic, from nothing, in a few minutes",
    usage: "slime demo [flags]",
    flags: FlagSet<DemoConfiguration>([
      (
        "Demo",
        [
          .option("output", \.output, "FOLDER", "where data, models and metrics go"),
          .option("seed", \.seed, "seed of the problems, the model and the sampling"),
          .option("device", \.device, "where everything runs"),
        ]
      )
    ]), configuration: DemoConfiguration(), Run.demo)

  static let bench = Command(
    name: "bench", summary: "time a part of the system",
    usage: "slime bench SUBJECT [flags]",
    flags: FlagSet<BenchConfiguration>(
      [
        (
          "Bench",
          [
            .toggle("json", \.json, "print JSON")
          ]
        )
      ], positional: .option("subject", \.subject, "what to time")), configuration: BenchConfiguration(), Run.bench)

  /// A process that a driver starts.
  static let worker = Command(
    name: "worker", summary: "", usage: "slime worker --role ROLE --rank RANK",
    flags: FlagSet<WorkerConfiguration>([
      ("Worker", [.option("role", \.role, "what it does"), .option("rank", \.rank, "which of its role it is")])
    ]), configuration: WorkerConfiguration(), Run.worker)
}
