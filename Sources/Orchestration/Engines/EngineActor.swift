import Checkpoints
import Distributed
import Foundation
import Inference
import Tokenization
import Torch
import WeightSync

/// All that an engine needs to know to begin.
public struct EngineSetup: Sendable, Codable {
  public var folder: String
  public var dtype: DType
  public var device: Device
  public var limits: EngineConfiguration
  public var randomSeed: Int
  public var threadCount: Int
  /// What builds the model; nil: its family.
  public var modelProvider: String?
  /// Where slices of an update go until all are there.
  public var weightStaging = WeightStaging.beside
  /// Whether it lets go of weights and KV while the trainer works, and gets its weights from an update.
  public var givesMemoryBack = false

  public init(
    folder: String, dtype: DType, device: Device = .cpu, limits: EngineConfiguration, randomSeed: Int = 0, threadCount: Int = 1,
    modelProvider: String? = nil
  ) {
    (self.folder, self.dtype, self.device, self.limits) = (folder, dtype, device, limits)
    (self.randomSeed, self.threadCount, self.modelProvider) = (randomSeed, threadCount, modelProvider)
  }
}

/// An engine in a process of its own.
public distributed actor EngineActor {
  // Loading blocks; it must not do so on the cooperative pool. Everything else only waits.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }

  private var engine: Engine?
  private var staging = WeightStaging.beside
  private var slices = SliceImporter()

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  public distributed func start(_ setup: EngineSetup) throws {
    Runtime.threadCount = setup.threadCount
    staging = setup.weightStaging
    try Runtime.open(setup.device, for: "an engine")
    let url = URL(fileURLWithPath: setup.folder)
    var options = try setup.limits.options(dtype: setup.dtype, device: setup.device, randomSeed: setup.randomSeed)
    options.modelProvider = setup.modelProvider
    if setup.givesMemoryBack { (options.keepsAddresses, options.stashesWeights) = (true, false) }
    engine = try Engine(folder: HuggingFaceFolder(url), tokenizer: Tokenizer(folder: url), options: options)
  }

  private func started() throws -> Engine {
    guard let engine else { throw EngineError("the engine was not started") }
    return engine
  }

  public distributed func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    try await started().generate(request)
  }

  public distributed func abort(_ id: String?) async throws { try await started().abort(id) }
  public distributed func flushCache() async throws -> Bool { try await started().flushCache() }
  public distributed func status() async throws -> EngineStatus { try await started().status() }

  public distributed func weightShards() async throws -> [[WeightShard]] { try await started().weightShards() }

  public distributed func releaseMemory(_ tags: [MemoryTag]) async throws { try await started().releaseMemory(Set(tags)) }
  public distributed func resumeMemory(_ tags: [MemoryTag]) async throws { try await started().resumeMemory(Set(tags)) }

  public distributed func linkWeights(_ shared: [SliceBucket]) async throws {
    // The slices keep the memory open for as long as the engine is linked to them.
    var opening = SliceImporter()
    try await started().linkWeights(try opening.slices(of: shared))
  }

  /// Requests in flight give their KV back and go on with the new weights.
  public distributed func copyLinkedWeights(version: String) async throws {
    try await started().copyLinkedWeights(WeightInstallation(version: version, retractsRequests: true))
  }

  public distributed func beginWeightUpdate() async throws {
    slices.close()
    try await started().beginWeightUpdate(staging)
  }

  public distributed func loadWeights(_ buckets: [SliceBucket]) async throws {
    try await started().updateWeights(try slices.slices(of: buckets))
  }

  public distributed func abandonWeightUpdate() async throws {
    slices.close()
    try await started().abandonWeightUpdate()
  }

  /// A tensor by its name in the checkpoint, as the engine holds it.
  public distributed func weight(named name: String) async throws -> NamedBytes? { try await started().weight(named: name) }

  /// XXH64 of each tensor, by its name in the checkpoint.
  public distributed func weightChecksums() async throws -> [String: String] {
    let engine = try started()
    var sums: [String: String] = [:]
    for name in try await engine.weightNames() {
      sums[name] = try await engine.weight(named: name)?.bytes.withUnsafeBytes { XXHash64.hex($0) }
    }
    return sums
  }

  /// Of a Hugging Face folder.
  public distributed func loadWeights(from folder: String, version: String) async throws {
    try await started().replaceWeights(from: URL(fileURLWithPath: folder), WeightInstallation(version: version))
  }

  public distributed func pullWeights(into local: String, from source: String, version: Int) async throws {
    try await LocalCheckpoint(URL(fileURLWithPath: local)).pull(from: URL(fileURLWithPath: source), version: version)
  }

  /// Requests in flight give their KV back and go on with the new weights.
  public distributed func endWeightUpdate(version: String) async throws {
    slices.close()
    try await started().endWeightUpdate(WeightInstallation(version: version, retractsRequests: true))
  }
}

extension EngineConfiguration {
  /// The engine's options; what is nil here stays the engine's choice.
  /// - Throws: when the folder of a draft model cannot be read.
  public func options(dtype: DType, device: Device, randomSeed: Int) throws -> EngineOptions {
    var options = EngineOptions(dtype: dtype, device: device, contextLength: contextLength, randomSeed: randomSeed)
    options.maxTotalTokens = maxTotalTokens
    if let pageSize { options.pageSize = pageSize }
    options.memoryFraction = memFractionStatic
    (options.quantization, options.cacheType) = (quantization, kvCacheType.tensorType)
    options.tensorParallelSize = tensorParallelSize
    options.expertParallelSize = expertParallelSize
    options.schedulePolicy = schedulePolicy
    options.scheduleConservativeness = scheduleConservativeness
    options.disableRadixCache = disableRadixCache
    if disableOverlapSchedule { options.overlapsSchedule = false }
    options.recordedBatch = disableCUDAGraph ? 0 : cudaGraphMaxBatch ?? options.recordedBatch
    options.isDeterministic = isDeterministic
    let algorithm: SpeculativeOptions.Algorithm? =
      switch speculation {
      case nil: nil
      case .ngram: .ngram(NGramOptions())
      case .standalone: .standalone(try HuggingFaceFolder(URL(fileURLWithPath: draftModel ?? "")))
      case .eagle: try draftModel.map { .eagle(try HuggingFaceFolder(URL(fileURLWithPath: $0))) } ?? .nextN
      case .nextN: .nextN
      case .eagle3: .eagle3(try HuggingFaceFolder(URL(fileURLWithPath: draftModel ?? "")))
      }
    options.speculative = algorithm.map {
      SpeculativeOptions($0, draftTokens: draftTokens, steps: speculativeSteps, branches: speculativeBranches)
    }
    options.returnsHiddenStates = returnsHiddenStates
    if let maxRunningRequests { options.maxRunningRequests = maxRunningRequests }
    if let chunkedPrefillSize { options.chunkedPrefillSize = chunkedPrefillSize }
    return options
  }
}
