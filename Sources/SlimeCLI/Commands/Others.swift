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
    notes: benchSubjects,
    flags: FlagSet<BenchConfiguration>(
      [
        ("Bench", [.toggle("json", \.json, "print JSON")]),
        (
          "Tokenizer",
          [
            .option("hf-checkpoint", \.hfCheckpoint, "FOLDER", "the tokenizer, or the model of a rollout, to time"),
            .list("text", \.texts, "FILE", "texts to time beside generated ones"),
            .option("python", \.python, "FILE", "interpreter with tokenizers, or torch and transformers, to compare with"),
            .option("compare", \.comparison, "who does a rollout or training again in the same run, with --python or python3"),
          ]
        ),
        (
          "Soak and rollout",
          [
            .option("requests", \.requests, "N", "how many (20000 in a soak, 64 in a rollout)"),
            .option("random-input-len", \.randomInputLen, "longest prompt of a rollout, in tokens"),
            .option("random-output-len", \.randomOutputLen, "longest response"),
            .option("random-range-ratio", \.randomRangeRatio, "shortest prompt or response over the longest"),
            .option("dtype", \.dtype, "type of weights and KV cache"),
            .option("device", \.device, "where the rollout or the training runs"),
            .toggle("fp8", \.isFloat8, "the engine of a rollout or an update keeps linear weights as e4m3"),
            .toggle("enable-deterministic-inference", \.isDeterministic, "a rollout of equal bits whatever else is in the batch"),
          ]
        ),
        (
          "Training",
          [
            .option("micro-batch-size", \.microBatchSize, "sequences of a step"),
            .option("seq-length", \.seqLength, "tokens of each"),
            .option("train-backend", \.trainBackend, "what trains"),
            .option("attn-implementation", \.attention, "how its attention is computed"),
          ] + OptimizerConfiguration.precisionFlags.map { $0.lifted(\.optimizer) }
        ),
        (
          "Weight update and step",
          [
            .list("kind", \.updateKinds, "KIND", "ways of an update to time: tensor, bucket, distributed, http, disk; default all"),
            .option("rollout-batch-size", \.promptCount, "prompts of a step"),
            .option("n-samples-per-prompt", \.samplesPerPrompt, "responses to each, of --random-output-len tokens"),
            .option("steps", \.steps, "steps; the first does not count"),
          ]
        ),
        (
          "Load",
          [
            .option("gigabytes", \.gigabytes, "GB", "of the model that is made, loaded and removed"),
            .option("temporary-folder", \.temporaryFolder, "FOLDER", "where it is made"),
          ]
        ),
      ], positional: .option("subject", \.subject, "what to time")), configuration: BenchConfiguration(), Run.bench)

  static let benchSubjects = """
    subjects:
      kernels    our GPU kernels, beside the operators that each stands for
      load       a folder into a model on the CPU, beside reading its files into memory, with the page cache warm and cold
      memory     most memory of a training step on the CPU under several layouts, beside what slime plan says
      ops        calls of operators from Swift, beside the same calls from C++
      rollout    an engine that generates, beside transformers (--compare); on a model with random weights unless
                 --hf-checkpoint names one
      soak       an engine under many requests, aborts, pauses and weight updates: each ends once, nothing leaks
      step       a step of colocated training, phase by phase, as slime train logs it; micro-batches have --seq-length tokens
      train      steps of a training backend, beside transformers, eager and compiled (--compare); models as for rollout
      update     weights from a trainer to an engine on one device, by kind: time and extra memory; models as for rollout
      tokenizer  texts into tokens on one core, beside the Python package tokenizers (--python)
    """

  /// A process that a driver starts.
  static let worker = Command(
    name: "worker", summary: "", usage: "slime worker --role ROLE --rank RANK",
    flags: FlagSet<WorkerConfiguration>([
      ("Worker", [.option("role", \.role, "what it does"), .option("rank", \.rank, "which of its role it is")])
    ]), configuration: WorkerConfiguration(), Run.worker)
}
