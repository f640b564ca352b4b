import Foundation
import JSON
import Orchestration
import TestSupport
import Testing

/// Whole runs of the loop with its worker processes, on a tiny model.
@Suite(.serialized) struct TrainingLoopTests {
  /// A folder with a model and prompts, gone with the value.
  private final class Room {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)

    init() throws {
      try writeTinyModel(to: url.appendingPathComponent("model"), seed: 1)
      let rows = (0..<8).map { #"{"input":"\#($0)+\#($0 * 3)=","label":"\#($0 * 4)"}"# }
      try Data(rows.joined(separator: "\n").utf8).write(to: url.appendingPathComponent("data.jsonl"))
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    func path(_ name: String) -> String { url.appendingPathComponent(name).path }

    /// Runs a process of its own for it, which starts the workers.
    /// - Returns: the exit code and what went to stderr.
    func train(_ change: (inout TrainConfiguration) -> Void) throws -> (code: Int32, errors: String) {
      var configuration = TrainConfiguration()
      configuration.checkpoint.hfCheckpoint = path("model")
      configuration.data.promptData = path("data.jsonl")
      configuration.data.labelKey = "label"
      (configuration.rollout.batchSize, configuration.rollout.samplesPerPrompt) = (2, 2)
      (configuration.rollout.maxResponseLength, configuration.rollout.rewardModelType) = (6, "math")
      configuration.optimizer.learningRate = 1e-3
      change(&configuration)
      try JSONEncoder().encode(configuration).write(to: url.appendingPathComponent("configuration.json"))
      let process = Process()
      process.executableURL = URL(fileURLWithPath: testWorker)
      process.arguments = ["train", path("configuration.json")]
      process.standardInput = FileHandle.nullDevice
      process.standardOutput = FileHandle.nullDevice
      let pipe = Pipe()
      process.standardError = pipe
      try process.run()
      let errors = pipe.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return (process.terminationStatus, String(decoding: errors, as: UTF8.self))
    }

    /// What each step measured, but not how long things took.
    func metrics(_ save: String) throws -> [[String: Double]] {
      let data = try Data(contentsOf: URL(fileURLWithPath: path(save)).appendingPathComponent("metrics.jsonl"))
      return try data.split(separator: UInt8(ascii: "\n")).map { line in
        let pairs = try JSONValue(parsing: Data(line)).object?.pairs.filter { !$0.key.hasPrefix("perf/") } ?? []
        return Dictionary(uniqueKeysWithValues: pairs.map { ($0.key, $0.value.double ?? .nan) })
      }
    }
  }

  /// The critic learns alone at first, then both; a run that ends and goes on is the run that did not end.
  @Test func criticAndActorLearnAndGoOnTogether() throws {
    let room = try Room()
    func run(_ save: String, rollouts: Int) throws -> [[String: Double]] {
      let (code, errors) = try room.train {
        $0.algorithm.advantageEstimator = .ppo
        ($0.critic.onlySteps, $0.critic.learningRate) = (1, 1e-2)
        ($0.checkpoint.saveInterval, $0.checkpoint.asyncSave) = (1, true)
        ($0.data.rolloutCount, $0.checkpoint.save, $0.checkpoint.load) = (rollouts, room.path(save), room.path(save))
      }
      #expect(code == 0, "\(errors)")
      return try room.metrics(save)
    }
    let whole = try run("whole", rollouts: 2)
    try #require(whole.count == 2)
    #expect(whole.map { $0["train/loss"] != nil } == [false, true])
    #expect(whole.allSatisfy { $0["train/critic-value_loss"]! > 0 && $0["train/critic-lr-pg_0"] == 1e-2 })
    #expect(whole[1]["rollout/values"] == whole[1]["rollout/critic-values"])
    #expect(whole[1]["train/grad_norm"]! > 0 && whole[1]["rollout/returns"] != nil)
    _ = try run("parts", rollouts: 1)
    let parts = try run("parts", rollouts: 2)
    try #require(parts.count == 2)
    for (name, value) in whole[1] {
      #expect(abs((parts[1][name] ?? .nan) - value) <= 1e-5 * max(abs(value), 1), "\(name)")
    }
    try FileManager.default.removeItem(atPath: room.path("parts/critic/iter_0000002"))
    let (code, errors) = try room.train {
      ($0.algorithm.advantageEstimator, $0.data.rolloutCount, $0.checkpoint.load) = (.ppo, 3, room.path("parts"))
    }
    #expect(code == 2 && errors.contains("give --critic-load FOLDER"), "\(errors)")
    let (wrong, sentence) = try room.train {
      ($0.algorithm.advantageEstimator, $0.data.rolloutCount, $0.critic.load) = (.ppo, 1, room.path("nothing"))
    }
    #expect(wrong == 2 && sentence.contains("holds neither checkpoints nor a model's config.json"), "\(sentence)")
  }

  /// A model that sees pictures learns from a dataset that has some; engine and trainer see the same.
  @Test(arguments: [TrainBackendKind.megatron, .fsdp]) func picturesAreLearnedFrom(_ backend: TrainBackendKind) throws {
    let room = try Room()
    try writeTinyVisionModel(to: room.url.appendingPathComponent("seeing"))
    let pictures = ["00-rgb.png", "01-rgb.jpeg", "02-rgb.webp", "03-grey.png"].map { fixture("images/\($0)").path }
    let rows = (0..<4).map { #"{"input":"what is <image>?","label":"4","pictures":["\#(pictures[$0])"]}"# }
    try Data(rows.joined(separator: "\n").utf8).write(to: room.url.appendingPathComponent("pictures.jsonl"))
    func train(_ change: (inout TrainConfiguration) -> Void = { _ in }) throws -> (code: Int32, errors: String) {
      try room.train {
        $0.checkpoint.hfCheckpoint = room.path("seeing")
        ($0.data.promptData, $0.data.applyChatTemplate) = (room.path("pictures.jsonl"), true)
        $0.data.multimodalKeys = #"{"image": "pictures"}"#
        ($0.backend.trainBackend, $0.data.rolloutCount, $0.checkpoint.save) = (backend, 2, room.path("save"))
        change(&$0)
      }
    }
    let (code, errors) = try train()
    #expect(code == 0, "\(errors)")
    let metrics = try room.metrics("save")
    try #require(metrics.count == 2)
    for step in metrics { #expect(step["train/train_rollout_logprob_abs_diff"]! < 1e-4) }
    let (wrong, sentence) = try train { $0.data.multimodalKeys = #"{"video": "films"}"# }
    #expect(wrong == 2 && sentence.contains("pictures alone are supported"), "\(sentence)")
  }

  /// How a run divides the work.
  struct Division: Sendable, CustomTestStringConvertible {
    var backend: TrainBackendKind
    var tensor = 1
    var dtype = ComputeDType.float32
    var testDescription: String { "\(backend) tp \(tensor) \(dtype)" }
  }

  /// In deterministic mode trainer and engine compute the same bits, step after step; otherwise they do not.
  @Test(arguments: [
    Division(backend: .fsdp), Division(backend: .megatron, dtype: .bfloat16), Division(backend: .megatron, tensor: 2),
  ])
  func engineAndTrainerAgreeToTheBit(_ division: Division) throws {
    let room = try Room()
    func run(_ isDeterministic: Bool) throws -> [[String: Double]] {
      let save = "save-\(isDeterministic)"
      let (code, errors) = try room.train {
        ($0.backend.isDeterministic, $0.engine.isDeterministic) = (isDeterministic, isDeterministic)
        ($0.backend.trainBackend, $0.backend.dtype, $0.cluster.colocate) = (division.backend, division.dtype, true)
        ($0.cluster.actorGPUsPerNode, $0.cluster.rolloutGPUsPerEngine) = (2, division.tensor)
        ($0.backend.parallel.tensorParallelSize, $0.backend.parallel.sequenceParallel) = (division.tensor, division.tensor > 1)
        ($0.backend.useDynamicBatchSize, $0.backend.maxTokensPerGPU) = (true, 64)
        ($0.rollout.batchSize, $0.rollout.maxResponseLength, $0.rollout.temperature) = (4, 24, 0.8)
        ($0.data.rolloutCount, $0.checkpoint.save) = (3, room.path(save))
        $0.globalBatchSize = 4
      }
      #expect(code == 0, "\(errors)")
      return try room.metrics(save)
    }
    let metrics = try run(true)
    try #require(metrics.count >= 3)
    for step in metrics { #expect(step["train/train_rollout_logprob_abs_diff"] == 0) }
    #expect(try run(false).contains { $0["train/train_rollout_logprob_abs_diff"]! > 0 })
  }

  /// A teacher is learned from without any reward, while the policy that samples is older than the one that is trained.
  @Test func aTeacherIsLearnedFrom() throws {
    let room = try Room()
    try writeTinyModel(to: room.url.appendingPathComponent("teacher"), seed: 2)
    func distill(_ configuration: inout TrainConfiguration) {
      configuration.distillation.isOn = true
      (configuration.distillation.type, configuration.distillation.teacherLoad) = (.megatron, room.path("teacher"))
      configuration.rollout.rewardModelType = nil
      (configuration.algorithm.keepsOldActor, configuration.backend.updateWeightsInterval) = (true, 3)
      (configuration.data.rolloutCount, configuration.checkpoint.save) = (2, room.path("save"))
    }
    let (code, errors) = try room.train(distill)
    #expect(code == 0, "\(errors)")
    let metrics = try room.metrics("save")
    try #require(metrics.count == 2)
    for step in metrics {
      let divergence = step["rollout/log_probs"]! - step["rollout/teacher_log_probs"]!
      #expect(abs(step["rollout/advantages"]! + divergence) < 1e-5 && step["train/opd_reverse_kl"] != nil)
      // Of the policy that sampled, on which trainer and engine agree.
      #expect(step["train/train_rollout_logprob_abs_diff"]! < 1e-4)
    }
    #expect(metrics[1]["train/ppo_kl"] != 0)

    let config = try JSONValue(parsing: Data(contentsOf: room.url.appendingPathComponent("teacher/config.json")))
    guard case .object(var object) = config else { return }
    object["intermediate_size"] = 40
    try JSONValue.object(object).data(.indented(2)).write(to: room.url.appendingPathComponent("teacher/config.json"))
    let (otherCode, sentence) = try room.train(distill)
    #expect(otherCode == 2 && sentence.contains("is not of the architecture of --hf-checkpoint"), "\(sentence)")
  }
}
