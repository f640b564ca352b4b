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
}

/// An engine in a process of its own.
public distributed actor EngineActor {
  // Loading blocks; it must not do so on the cooperative pool. Everything else only waits.
  public nonisolated var unownedExecutor: UnownedSerialExecutor { actorSystem.thread.asUnownedSerialExecutor() }

  private var engine: Engine?

  public init(actorSystem: ControlPlane) { self.actorSystem = actorSystem }

  public distributed func start(_ setup: EngineSetup) throws {
    Runtime.threadCount = setup.threadCount
    try Runtime.open(setup.device, for: "an engine")
    let url = URL(fileURLWithPath: setup.folder)
    var options = try setup.limits.options(dtype: setup.dtype, device: setup.device, randomSeed: setup.randomSeed)
    options.modelProvider = setup.modelProvider
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
  public distributed func beginWeightUpdate() async throws { try await started().beginWeightUpdate() }

  public distributed func loadWeights(_ bucket: WeightBucket) async throws {
    try await started().updateWeights(try bucket.open())
  }

  /// Of a Hugging Face folder.
  public distributed func loadWeights(from folder: String, version: String) async throws {
    try await started().replaceWeights(from: URL(fileURLWithPath: folder), WeightInstallation(version: version))
  }

  public distributed func pullWeights(into local: String, from source: String, version: Int) async throws {
    try await LocalCheckpoint(URL(fileURLWithPath: local)).pull(from: URL(fileURLWithPath: source), version: version)
  }

  public distributed func endWeightUpdate(version: String) async throws {
    try await started().endWeightUpdate(version: version)
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
