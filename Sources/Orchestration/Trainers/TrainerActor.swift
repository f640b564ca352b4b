import Checkpoints
import Distributed
import Foundation
import JSON
import Models
import Parallelism
import Torch
import Training
import WeightSync

/// One rank of the trainer in a process of its own. Its tensors live on one thread.
public distributed actor TrainerActor {
  public nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }

  private var store: Store?
  private var trainer: PolicyTrainer?
  private var saving: BackgroundTask<RankContents?>?
  private var folder: HuggingFaceFolder?
  private var exporter = WeightExporter()
  private var rank = 0

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  /// Rank 0 opens the store where all ranks meet.
  /// - Returns: its port.
  public distributed func openStore(rankCount: Int, timeoutSeconds: Int) throws -> Int {
    let store = try Store.tcp(
      host: "127.0.0.1", port: 0, isServer: true, rankCount: rankCount, timeout: .seconds(timeoutSeconds))
    self.store = store
    return store.port
  }

  /// Joins the other ranks and loads the model.
  public distributed func start(_ setup: TrainerSetup) throws {
    rank = setup.rank
    Runtime.threadCount = setup.threadCount
    let timeout = Duration.seconds(setup.timeoutSeconds)
    let store = try self.store ?? Store.tcp(
      host: "127.0.0.1", port: setup.storePort, isServer: false, rankCount: setup.layout.worldSize, timeout: timeout)
    self.store = store
    let parallel = try ParallelContext(
      setup.layout, rank: setup.rank, device: setup.device, store: store, timeout: timeout)
    let folder = try HuggingFaceFolder(URL(fileURLWithPath: setup.folder))
    self.folder = folder
    let reference = try setup.referenceFolder.map { try HuggingFaceFolder(URL(fileURLWithPath: $0)) }
    let backend: any TrainBackend = switch setup.backend {
    case .megatron: try MegatronBackend(folder, reference: reference, options: setup.options, parallel: parallel)
    case .fsdp: try FSDPBackend(folder, reference: reference, options: setup.options, parallel: parallel)
    }
    if let stateFolder = setup.stateFolder { try backend.loadState(from: URL(fileURLWithPath: stateFolder)) }
    trainer = PolicyTrainer(backend, options: setup.options)
  }

  private func started() throws -> PolicyTrainer {
    guard let trainer else { throw TrainingError("trainer rank \(rank) was not started") }
    return trainer
  }

  public distributed func train(_ batch: TrainBatch) throws -> TrainReport { try started().train(batch) }

  public distributed func residentMemory() -> Int { ProcessMemory.resident }

  /// - Returns: the most memory of this process while it learned from a rollout, in bytes.
  public distributed func peakMemory(training batch: TrainBatch) throws -> Int {
    ProcessMemory.forgetPeak()
    _ = try started().train(batch)
    return ProcessMemory.peak
  }

  public distributed func stepCount() throws -> Int { try started().backend.stepCount }

  public distributed func score(_ sequences: [[Int32]], tokensPerPack: Int) throws -> [ScoredSequence] {
    try started().score(sequences, tokensPerPack: tokensPerPack)
  }

  public distributed func exportWeights(fromUnit unit: Int, byteLimit: Int, dtype: DType) throws -> WeightExport {
    let backend = try started().backend
    return try exporter.export(
      fromUnit: unit, elementCounts: backend.weightUnitSizes, byteLimit: byteLimit, dtype: dtype, fills: rank == 0,
      keepsType: CausalLM.isConstant, weights: backend.weights(ofUnit:))
  }

  public distributed func releaseWeights() { exporter.release() }

  /// Begins to write this rank's part of the training state into a folder that the driver made; training may go on.
  public distributed func startSaving(into folder: String, withOptimizer: Bool) throws {
    saving = try started().backend.startSaving(into: URL(fileURLWithPath: folder), withOptimizer: withOptimizer)
  }

  /// Waits until that is written.
  public distributed func finishSaving() async throws -> RankContents? {
    guard let saving else { throw TrainingError("trainer rank \(rank) is not saving") }
    self.saving = nil
    return try await saving.value
  }

  /// Saves the model as a Hugging Face folder; every rank takes part, rank 0 writes.
  public distributed func saveHuggingFace(to path: String, dtype: DType) throws {
    guard let folder else { throw TrainingError("trainer rank \(rank) was not started") }
    let backend = try started().backend
    guard rank == 0 else { return try backend.forEachWeight { _, _ in } }
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: dtype)
    let tensors = model.table.parameters.flatMap { parameter in
      parameter.pieces.map {
        TensorSpecification(name: $0.checkpointName, dtype: SafetensorsDType(parameter.dtype), shape: $0.shape)
      }
    }
    let writer = try HuggingFaceWriter(
      to: URL(fileURLWithPath: path), config: folder.config.settingDType(dtype), tensors: tensors, copyingFrom: folder)
    try backend.forEachWeight { try writer.write($0, $1) }
    try writer.finish()
  }
}

extension JSONValue {
  /// A config.json that says what type the weights have, under the key that it used before.
  func settingDType(_ dtype: DType) -> JSONValue {
    guard case .object(var object) = self else { return self }
    object[object["dtype"] == nil && object["torch_dtype"] != nil ? "torch_dtype" : "dtype"] = .string(dtype.name)
    return .object(object)
  }
}

extension ParallelContext {
  /// Joins the groups of a rank that is a process: over NCCL on GPUs, over Gloo on CPUs.
  init(_ layout: ParallelLayout, rank: Int, device: Device, store: Store, timeout: Duration) throws {
    try Runtime.open(device, for: "trainer rank \(rank)")
    try self.init(layout, rank: rank, device: device) { name, place, size in
      device.kind == .cuda
        ? try .nccl(name, store: store, rank: place, size: size, device: device, timeout: timeout)
        : try .gloo(name, store: store, rank: place, size: size, timeout: timeout)
    }
  }
}
