import Checkpoints
import Foundation
import JSON
import Models
import Parallelism
import Torch
import Training

/// `slime bench memory`: the most memory that a rank has in a training step, as Linux counts it for real processes on
/// the CPU, beside what `slime plan` says of the same launch.
public enum MemoryBenchmark {
  public struct Row: Sendable, Codable {
    public var layout: String
    /// Of the rank that has most, in bytes, above the process before it loads the model.
    public var measured: Int
    public var planned: Int
  }

  /// One launch.
  private struct Launch: Sendable {
    var name: String
    var ranks = 1
    var change: @Sendable (inout BackendConfiguration) -> Void = { _ in }
  }

  private static let launches = [
    Launch(name: "1 rank"),
    Launch(name: "tensor 2, sequence parallel", ranks: 2) {
      ($0.parallel.tensorParallelSize, $0.parallel.sequenceParallel) = (2, true)
    },
    Launch(name: "context 2", ranks: 2) { $0.parallel.contextParallelSize = 2 },
    Launch(name: "pipeline 2", ranks: 2) { $0.parallel.pipelineParallelSize = 2 },
    Launch(name: "fsdp 4", ranks: 4) { $0.trainBackend = .fsdp },
    Launch(name: "full recomputation") {
      ($0.parallel.recomputeGranularity, $0.parallel.recomputeMethod) = (.full, .uniform)
    },
    Launch(name: "selective recomputation") { $0.parallel.recomputeGranularity = .selective },
  ]

  /// Tokens of every sample, samples of a micro-batch and of a step.
  private static let (length, microBatch, samples) = (512, 2, 8)

  private static let config: JSONValue = [
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 4096, "hidden_size": 256,
    "intermediate_size": 768, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4,
    "head_dim": 32, "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 512, "tie_word_embeddings": false,
    "torch_dtype": "float32",
  ]

  /// - Parameter command: how ranks are started.
  public static func run(command: WorkerCommand = WorkerCommand()) async throws -> [Row] {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-memory-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeModel(to: folder)
    var rows: [Row] = []
    for launch in launches { rows.append(try await measure(launch, folder, command)) }
    return rows
  }

  private static func measure(_ launch: Launch, _ folder: URL, _ command: WorkerCommand) async throws -> Row {
    var configuration = PlanConfiguration()
    configuration.train.checkpoint.hfCheckpoint = folder.path
    configuration.train.backend.device = .cpu
    configuration.train.backend.microBatchSize = microBatch
    configuration.train.cluster.actorGPUsPerNode = launch.ranks
    (configuration.train.globalBatchSize, configuration.averageTokens) = (samples, length)
    configuration.train.algorithm.lossType = .supervised
    launch.change(&configuration.train.backend)
    let plan = try Plan(configuration)
    let planned = plan.ranks.map(\.memory.total).max() ?? 0
    let supervisor = Supervisor(controlPlane: ControlPlane(), command: command)
    supervisor.endOnTerminationSignals()
    do {
      // Memory goes back at once, so that the peak is that of what lives.
      let environment = ["OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"]
      try await supervisor.start(
        (0..<launch.ranks).map { WorkerSpecification(ProcessName(WorkerRole.trainer, $0), environment: environment) })
      let trainers = TrainerGroup(try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.trainer))
      let before = try await trainers.residentMemory()
      let setup = TrainerSetup(
        folder: folder.path, backend: configuration.train.backend.trainBackend, layout: plan.layout,
        options: try configuration.train.trainingOptions(rolloutCount: 1))
      try await trainers.start(
        setup, role: .actor, withRef: false, withOPDTeacher: false, devices: Array(repeating: .cpu, count: launch.ranks))
      let peaks = try await trainers.peakMemory(training: batch)
      await supervisor.shutDown()
      return Row(layout: launch.name, measured: zip(peaks, before).map { $0 - $1 }.max() ?? 0, planned: planned)
    } catch {
      let cause = await supervisor.cause(of: error)
      await supervisor.shutDown()
      throw cause
    }
  }

  /// Samples of equal length, of which all tokens but the first are trained on.
  private static var batch: TrainBatch {
    var batch = TrainBatch(rolloutID: 0)
    batch.tokens = (0..<samples * length).map { Int32($0 % 4096) }
    batch.totalLengths = Array(repeating: Int32(length), count: samples)
    batch.responseLengths = Array(repeating: Int32(length - 1), count: samples)
    batch.lossMasks = Array(repeating: 1, count: samples * (length - 1))
    batch.rawRewards = Array(repeating: 0, count: samples)
    batch.rewards = batch.rawRewards
    let numbers = Array(0..<samples)
    (batch.groupIDs, batch.rolloutIDs, batch.sampleIndices) = (numbers, numbers, numbers)
    batch.rolloutMaskSums = batch.responseLengths
    batch.truncated = Array(repeating: false, count: samples)
    batch.weightVersions = Array(repeating: "0", count: samples)
    return batch
  }

  private static func writeModel(to folder: URL) throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try config.data(.indented(2)).write(to: folder.appendingPathComponent("config.json"))
    let model = try CausalLM(
      ModelRegistry.configuration(config, source: "the benchmark's config.json"), parallel: .single(), dtype: .float32)
    try catchingTorchErrors {
      model.initialize(seed: 1)
      try model.save(to: folder)
    }
  }

  /// Peaks in MiB, and their ratios to the first row's.
  public static func table(_ rows: [Row]) -> String {
    func mebibytes(_ bytes: Int) -> String { String(bytes >> 20) }
    func ratio(_ path: KeyPath<Row, Int>, _ row: Row) -> String {
      String(format: "%.2f", Double(row[keyPath: path]) / Double(max(rows[0][keyPath: path], 1)))
    }
    let head = ["| layout | measured, MiB | planned, MiB | measured ratio | planned ratio |", "|---|---|---|---|---|"]
    let lines = rows.map { row in
      "| \(row.layout) | \(mebibytes(row.measured)) | \(mebibytes(row.planned)) | \(ratio(\.measured, row)) "
        + "| \(ratio(\.planned, row)) |"
    }
    return (head + lines).joined(separator: "\n")
  }
}
