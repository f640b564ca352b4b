import Foundation
import Observability
import Synchronization

/// `slime demo`: a small model learns to add, first from examples and then from rewards alone, with the same
/// configurations that `slime train` makes of its flags.
public enum Demo {
  private static let evaluationName = "held_out"

  public static func run(_ configuration: DemoConfiguration, console: Console = .standard) async throws {
    let began = ContinuousClock.now
    let output = URL(fileURLWithPath: configuration.output)
    try? FileManager.default.removeItem(at: output.appendingPathComponent("grpo"))
    try FileManager.default.createDirectory(at: output, withIntermediateDirectories: true)
    let paths = Paths(output)
    console.print("1/3  writing problems, a tokenizer and a small Qwen3 to \(output.path)")
    let problems = ArithmeticProblems(seed: configuration.seed)
    try ArithmeticProblems.write(problems.conversations, to: paths.conversations)
    try ArithmeticProblems.write(problems.prompts, to: paths.prompts)
    try ArithmeticProblems.write(problems.heldOut, to: paths.heldOut)
    try DemoModel.write(to: paths.fresh, seed: configuration.seed)

    console.print("2/3  warming up on examples (slime train --loss-type sft_loss) until the loss is below \(WarmUp.targetLoss)")
    let warmUp = WarmUp()
    try await TrainingLoop.run(self.warmUp(configuration, paths), console: console, observer: warmUp.decide)

    console.print("3/3  learning from rewards (slime train, GRPO)")
    let record = Record()
    try await TrainingLoop.run(grpo(configuration, paths), console: console, observer: record.add)
    report(record, paths, console, seconds: (ContinuousClock.now - began) / .seconds(1))
  }

  private struct Paths {
    let conversations, prompts, heldOut, fresh, warm, save, final: URL

    init(_ output: URL) {
      func file(_ name: String) -> URL { output.appendingPathComponent(name) }
      (conversations, prompts, heldOut) = (file("warm_up.jsonl"), file("train.jsonl"), file("held_out.jsonl"))
      (fresh, warm, save, final) = (file("fresh"), file("warm"), file("grpo"), file("grpo/hf"))
    }
  }

  private static func common(_ configuration: DemoConfiguration) -> TrainConfiguration {
    var train = TrainConfiguration()
    train.backend.device = configuration.device
    train.backend.trainBackend = .fsdp
    train.cluster.colocate = true
    train.backend.useDynamicBatchSize = true
    train.backend.maxTokensPerGPU = 16_384
    train.data.inputKey = "prompt"
    train.data.shuffle = true
    train.data.rolloutSeed = configuration.seed
    train.optimizer.seed = configuration.seed
    return train
  }

  private static func warmUp(_ configuration: DemoConfiguration, _ paths: Paths) -> TrainConfiguration {
    var train = common(configuration)
    train.algorithm.lossType = .supervised
    train.algorithm.perTokenLoss = true
    train.checkpoint.hfCheckpoint = paths.fresh.path
    train.checkpoint.saveHF = paths.warm.path
    train.data.promptData = paths.conversations.path
    train.data.rolloutCount = WarmUp.longest
    train.rollout.batchSize = 128
    train.optimizer.learningRate = 2e-3
    train.optimizer.warmupSteps = 20
    return train
  }

  private static func grpo(_ configuration: DemoConfiguration, _ paths: Paths) -> TrainConfiguration {
    var train = common(configuration)
    train.checkpoint.hfCheckpoint = paths.warm.path
    train.checkpoint.save = paths.save.path
    train.checkpoint.saveHF = paths.final.path
    train.data.promptData = paths.prompts.path
    train.data.labelKey = "label"
    train.data.applyChatTemplate = true
    train.data.rolloutCount = 150
    train.rollout.batchSize = 64
    train.rollout.samplesPerPrompt = 8
    // Prompts that are always or never solved teach nothing: others take their place.
    train.rollout.dynamicSamplingFilter = "slime.rollout.filter_hub.dynamic_sampling_filters.check_reward_nonzero_std"
    train.rollout.overSamplingBatchSize = 96
    train.rollout.maxResponseLength = 8
    train.rollout.rewardModelType = "math"
    train.globalBatchSize = 512
    train.optimizer.learningRate = 3e-4
    train.optimizer.warmupSteps = 10
    train.engine.maxRunningRequests = 512
    train.eval.interval = 50
    train.eval.datasets = [EvalDataset(name: evaluationName, path: paths.heldOut.path)]
    train.eval.temperature = 0
    return train
  }

  private static func report(_ record: Record, _ paths: Paths, _ console: Console, seconds: Double) {
    let (rewards, accuracies) = record.curves
    let chart = LineChart(title: "reward per rollout", values: rewards)
    for line in chart.lines(isUnicode: console.terminal.isUnicode) { console.print(line) }
    func percent(_ value: Double?) -> String { value.map { String(format: "%.1f %%", $0 * 100) } ?? "unknown" }
    console.print(
      """

      accuracy on held-out problems: \(percent(accuracies.first)) before GRPO, \(percent(accuracies.last)) after
      time: \(Int(seconds)) s
      model:   \(paths.final.path) (a Hugging Face folder)
      metrics: \(paths.save.appendingPathComponent("metrics.jsonl").path)

      Next:
        ./slime generate --hf-checkpoint \(paths.final.path) --chat --prompt '17+25=' --temperature 0
        ./slime serve --model-path \(paths.final.path) --port 30000
        ./slime train --help
      """)
  }

  /// Ends the warm-up when the model gets about half of the problems right: how many steps that takes depends on the
  /// seed, while the loss tells it for every seed.
  private final class WarmUp: Sendable {
    static let targetLoss = 0.3
    /// Steps after which it ends in any case.
    static let longest = 600
    /// Steps whose losses are averaged.
    private static let window = 10
    private let losses = Mutex<[Double]>([])

    @Sendable func decide(_ event: RunEvent) -> RunDecision {
      guard case .step(_, let metrics) = event, let loss = metrics["train/loss"] else { return .goOn }
      return losses.withLock { losses in
        losses = losses.suffix(Self.window - 1) + [loss]
        let isReached = losses.count == Self.window && losses.reduce(0, +) / Double(Self.window) < Self.targetLoss
        return isReached ? .finish : .goOn
      }
    }
  }

  /// What the report shows of the run.
  private final class Record: Sendable {
    private let state = Mutex<(rewards: [Double], accuracies: [Double])>(([], []))

    @Sendable func add(_ event: RunEvent) -> RunDecision {
      state.withLock { state in
        switch event {
        case .step(_, let metrics):
          if let reward = metrics["rollout/raw_reward"] { state.rewards.append(reward) }
        case .evaluation(_, let metrics):
          if let accuracy = metrics["eval/" + evaluationName] { state.accuracies.append(accuracy) }
        }
      }
      return .goOn
    }

    var curves: (rewards: [Double], accuracies: [Double]) { state.withLock { $0 } }
  }
}
