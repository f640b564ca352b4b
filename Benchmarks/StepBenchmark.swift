import Foundation
import JSON
import Observability
import Orchestration
import Synchronization
import Torch

/// What a step of colocated training spends its time with, in the metrics of `slime train`.
public enum StepBenchmark {
  public struct Work: Sendable {
    /// nil: the demo's model.
    public var checkpoint: URL?
    public var device = ComputeDevice.cpu
    public var dtype: ComputeDType?
    public var backend = TrainBackendKind.megatron
    public var prompts = 32
    public var samplesPerPrompt = 8
    /// Tokens of a response at most. Random weights hardly ever end one earlier.
    public var responseLength = 1024
    /// Of a micro-batch.
    public var tokensPerMicroBatch = 8192
    /// Of which the first makes kernels and libraries ready.
    public var steps = 3

    public init() {}
  }

  public struct Row: Sendable, Encodable {
    public var phase: String
    /// Mean over the steps after the first.
    public var seconds: Double
    public var share: Double
  }

  private static let phases: [(metric: String, name: String)] = [
    ("generation", "rollout"), ("reward", "reward"), ("ref_log_probs", "reference's log-probs"), ("log_probs", "log-probs"),
    ("actor_train", "training"), ("update_weights", "weight update"), ("sleep", "trainer's state to the host"),
    ("wake_up", "trainer's state back"), ("offload_rollout", "engine lets memory go"), ("onload_rollout", "engine takes memory"),
    ("idle", "idle"), ("step", "step"),
  ]

  /// - Throws: what ends the run.
  public static func run(_ work: Work) async throws -> [Row] {
    let room = FileManager.default.temporaryDirectory.appendingPathComponent("slime-step-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: room) }
    try FileManager.default.createDirectory(at: room, withIntermediateDirectories: true)
    let model = work.checkpoint ?? room.appendingPathComponent("model")
    if work.checkpoint == nil { try DemoModel.write(to: model, seed: 1) }
    let prompts = room.appendingPathComponent("prompts.jsonl")
    let rows = (0..<max(work.prompts, 1) * work.steps).map { number -> JSONValue in
      ["prompt": .string("\(number) + \(number * 3 % 97) = "), "label": .string(String(number + number * 3 % 97))]
    }
    try Data(rows.map { $0.text(.compact) }.joined(separator: "\n").utf8).write(to: prompts)
    let record = Record()
    try await TrainingLoop.run(
      configuration(work, model: model, prompts: prompts), console: Console(output: STDERR_FILENO), recordingTo: [record])
    let steps = record.steps.dropFirst(min(1, record.steps.count - 1))
    func mean(_ phase: String) -> Double {
      steps.reduce(0) { $0 + ($1["perf/\(phase)_time"] ?? 0) } / Double(steps.count)
    }
    let whole = mean("step")
    return phases.compactMap { metric, name in
      let seconds = mean(metric)
      let isKnown = steps.contains { $0["perf/\(metric)_time"] != nil }
      return isKnown ? Row(phase: name, seconds: seconds, share: seconds / whole) : nil
    }
  }

  private static func configuration(_ work: Work, model: URL, prompts: URL) -> TrainConfiguration {
    var train = TrainConfiguration()
    train.checkpoint.hfCheckpoint = model.path
    (train.backend.device, train.backend.dtype, train.backend.trainBackend) = (work.device, work.dtype, work.backend)
    (train.backend.useDynamicBatchSize, train.backend.maxTokensPerGPU) = (true, work.tokensPerMicroBatch)
    train.cluster.colocate = true
    (train.data.promptData, train.data.inputKey, train.data.labelKey) = (prompts.path, "prompt", "label")
    train.data.rolloutCount = work.steps
    (train.rollout.batchSize, train.rollout.samplesPerPrompt) = (work.prompts, work.samplesPerPrompt)
    (train.rollout.maxResponseLength, train.rollout.rewardModelType) = (work.responseLength, "math")
    train.optimizer.learningRate = 1e-6
    train.engine.maxRunningRequests = work.prompts * work.samplesPerPrompt
    return train
  }

  private final class Record: MetricsSink {
    private let state = Mutex<[Metrics]>([])
    var steps: [Metrics] { state.withLock { $0 } }
    func record(_ metrics: Metrics, step: Int) { state.withLock { $0.append(metrics) } }
  }

  public static func table(_ rows: [Row]) -> String {
    (["| phase | s | share |", "|---|---|---|"]
      + rows.map { String(format: "| %@ | %.3f | %.1f %% |", $0.phase, $0.seconds, $0.share * 100) }).joined(separator: "\n")
  }
}
