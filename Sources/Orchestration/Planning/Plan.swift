import Foundation
import Inference
import JSON
import Models
import Parallelism
import Torch
import Training

/// What a launch would take, before anything runs: `slime plan`.
public struct Plan: Sendable {
  public let configuration: PlanConfiguration
  public let model: ModelConfiguration
  public let layout: ParallelLayout
  public let work: PlannedWork
  /// The first rank of every stage, or the one that was asked for.
  public let ranks: [PlannedRank]
  public let step: PlannedStep
  /// The step of each of `ranks`.
  var times: [StepTime] { ranks.map { step.stages[$0.stage] } }
  /// Numbers in the whole model.
  public let parameterCount: Int

  /// - Throws: `ConfigurationError` when the flags contradict each other or the model.
  public init(_ configuration: PlanConfiguration) throws {
    self.configuration = configuration
    let train = configuration.train
    let file = URL(fileURLWithPath: train.checkpoint.hfCheckpoint).appendingPathComponent("config.json")
    let json: JSONValue
    do { json = try JSONValue(parsing: Data(contentsOf: file)) } catch {
      throw ConfigurationError("--hf-checkpoint: \(file.path) cannot be read: \(error)")
    }
    model = try ModelRegistry.configuration(json, source: file.path, provider: train.checkpoint.modelProvider)
    layout = try train.backend.layout(worldSize: train.cluster.trainerRanks)
    let stages: [PlannedRank]
    do {
      work = try Self.work(configuration, model, layout)
      stages = try Self.ranks(configuration, model, layout, work)
      parameterCount = try Self.parameterCount(train.trained(model))
    } catch let error as LayoutError {
      throw ConfigurationError(error.description)
    } catch let error as TrainingError {
      throw ConfigurationError(error.description)
    }
    ranks = configuration.rank.map { rank in stages.filter { $0.rank == rank } } ?? stages
    step = PlannedStep(
      stages, layout: layout, on: configuration.gpu.accelerator,
      Interconnect(machineSize: train.cluster.actorGPUsPerNode, network: configuration.network * 1e9 / 8),
      isSharded: train.backend.trainBackend == .fsdp)
  }

  private static func ranks(
    _ configuration: PlanConfiguration, _ model: ModelConfiguration, _ layout: ParallelLayout, _ work: PlannedWork
  ) throws -> [PlannedRank] {
    let train = configuration.train
    let options = try train.trainingOptions(rolloutCount: 1)
    let perStage = layout.worldSize / layout.pipelineParallelSize
    let engine = train.cluster.colocate && train.usesEngine ? try Self.engine(configuration, model) : (0, 0)
    // The first rank of each stage, but for the one that is asked for.
    return try (0..<layout.pipelineParallelSize).map { stage in
      let rank = configuration.rank.flatMap { $0 / perStage == stage ? $0 : nil } ?? stage * perStage
      func plan(_ model: ModelConfiguration, _ options: TrainingOptions) throws -> PlannedRank {
        try PlannedRank(
          model, layout: layout, rank: rank, backend: train.backend.plannedBackend, options: options, work: work,
          device: train.backend.device == .cuda ? .cuda : .cpu)
      }
      var planned = try plan(train.trained(model), options)
      if train.usesCritic, rank < train.criticRanks {
        var critic = model
        critic.head = .value
        planned.memory.critic = try plan(critic, options).memory.total
      }
      if rank < train.cluster.engineGPUs { (planned.memory.engineWeights, planned.memory.cache) = engine }
      return planned
    }
  }

  /// Why the launch cannot run; nil: it fits. A CPU's memory is not known here.
  public var refusal: ConfigurationError? {
    let train = configuration.train
    guard train.backend.device == .cuda, let options = try? train.trainingOptions(rolloutCount: 1) else { return nil }
    let sentence = ranks.lazy.compactMap { rank in
      rank.refusal(
        available: configuration.gpu.accelerator.usableMemory, on: "\(configuration.gpu.rawValue)",
        backend: train.backend.plannedBackend, options: options)
    }.first
    return sentence.map(ConfigurationError.init)
  }

  private static func work(
    _ configuration: PlanConfiguration, _ model: ModelConfiguration, _ layout: ParallelLayout
  ) throws -> PlannedWork {
    let train = configuration.train
    let context = train.rollout.maxContextLength ?? train.engine.contextLength ?? model.contextLength
    let longest = train.rollout.maxPromptLength.flatMap { prompt in
      train.rollout.maxResponseLength.map { min(prompt + $0, context) }
    }
    let average = configuration.averageTokens ?? longest ?? context
    let parallel = train.backend.parallel
    let stages = try StagePlan(
      layerCount: model.layerCount, stageCount: layout.pipelineParallelSize,
      layersPerVirtualStage: parallel.layersPerVirtualStage, firstStageLayers: parallel.firstStageLayers,
      lastStageLayers: parallel.lastStageLayers)
    return PlannedWork(
      batching: train.backend.batching, globalBatchSize: train.resolvedGlobalBatchSize, averageLength: average,
      responseLength: train.rollout.maxResponseLength ?? average, dataParallelSize: layout.dataParallelSize,
      contextParallelSize: layout.contextParallelSize, group: stages.chunkCount > 1 ? layout.pipelineParallelSize : 1)
  }

  /// What an engine takes on each of its devices.
  private static func engine(
    _ configuration: PlanConfiguration, _ model: ModelConfiguration
  ) throws -> (weights: Int, cache: Int) {
    let (train, plain) = (configuration.train, EngineOptions())
    let dtype = train.backend.resolvedDType.tensorType
    let size = train.cluster.rolloutGPUsPerEngine
    let weights = try weightBytes(model.quantized(train.engine.quantization), dtype) / size
    if train.engine.maxTotalTokens == nil, let fraction = train.engine.memFractionStatic {
      return (weights, max(Int(configuration.gpu.accelerator.memory * fraction) - weights, 0))
    }
    let perToken = KVCache.bytesPerToken(model, dtype: train.engine.kvCacheType.tensorType ?? dtype, tensorParallelSize: size)
    let context = train.engine.contextLength ?? model.contextLength
    let most = min(plain.cacheBytes / perToken, (train.engine.maxRunningRequests ?? plain.maxRunningRequests) * context)
    return (weights, (train.engine.maxTotalTokens ?? most) * perToken)
  }

  static func weightBytes(_ model: ModelConfiguration, _ dtype: DType) throws -> Int {
    let whole = ParallelContext.imagined(try ParallelLayout(worldSize: 1), rank: 0)
    return try model.model(parallel: whole, dtype: dtype).table.parameters.reduce(0) { sum, parameter in
      sum + parameter.tensors.reduce(0) { $0 + $1.byteCount }
    }
  }

  private static func parameterCount(_ model: ModelConfiguration) throws -> Int {
    let whole = ParallelContext.imagined(try ParallelLayout(worldSize: 1), rank: 0)
    return try model.model(parallel: whole, dtype: .bfloat16).table.parameters.reduce(0) { $0 + $1.count }
  }
}

extension BackendConfiguration {
  var plannedBackend: PlannedBackend { trainBackend == .megatron ? .megatron : .fsdp }
}
