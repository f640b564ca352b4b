import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// Megatron parallelism: tensor, sequence, pipeline, virtual pipeline, context, expert and data parallelism with the
/// distributed optimizer, in any combination.
public final class MegatronBackend: TrainBackend {
  public let parallel: ParallelContext
  public let configuration: ModelConfiguration
  public internal(set) var stepCount = 0
  /// This rank's part of the model, one a virtual stage.
  let chunks: [CausalLM]
  let optimizer: DistributedOptimizer
  let stages: StagePlan
  private let pipeline: Pipeline
  private let gathering: WeightGathering
  private let runner: any BlockRunner
  private let recomputesAttention: Bool
  private let attention: AttentionImplementation
  private let policies: PolicyWeights
  lazy var refuge: HostRefuge = {
    let state = optimizer.idleState
    return HostRefuge(state.kept, forgetting: state.forgotten)
  }()

  public var microBatchGroup: Int { chunks.count > 1 ? parallel.stageCount : 1 }

  /// - Parameters:
  ///   - folder: the model and its weights to start from; a rank reads its slices.
  ///   - others: those of other policies, which are kept.
  /// - Throws: `ModelError` or `LayoutError` when the model cannot be divided so.
  public init(
    _ folder: HuggingFaceFolder, policies others: [Policy: HuggingFaceFolder] = [:], options: TrainingOptions,
    parallel: ParallelContext
  ) throws {
    var parallel = parallel
    parallel.isDeterministic = options.isDeterministic
    self.parallel = parallel
    let configuration = try options.configuration(of: folder)
    self.configuration = configuration
    attention = try options.attention(of: configuration, parallel)
    let stages = try StagePlan(configuration, parallel.layout, options.megatron)
    self.stages = stages
    let chunks = try stages.models(configuration, parallel, dtype: options.computeType)
    self.chunks = chunks
    var optimizerOptions = DistributedOptimizer.Options()
    optimizerOptions.adam = options.optimizer
    optimizerOptions.clipGradient = options.clipGradient
    (optimizerOptions.computeType, optimizerOptions.precision) = (options.computeType, options.precision)
    optimizerOptions.offloadsToHost = options.megatron.offloadsOptimizer
    let optimizer = try catchingTorchErrors {
      DistributedOptimizer(
        chunks.flatMap(\.table.parameters), tied: chunks.lazy.compactMap(\.sharedWithOtherStage).first,
        options: optimizerOptions, parallel: parallel)
    }
    self.optimizer = optimizer
    gathering = try WeightGathering(configuration, stages, parallel: parallel)
    pipeline = Pipeline(parallel, chunkCount: chunks.count, dtype: options.computeType)
    runner = RecomputingRunner(options.megatron.recomputation)
    recomputesAttention = options.megatron.recomputation == .selective
    policies = PolicyWeights(optimizer.weights)
    for chunk in chunks where !chunk.stage.holdsEmbedding {
      guard let copy = chunk.embeddingForPrediction else { continue }
      copy.tensor = .zeros(copy.shape, dtype: options.computeType, device: parallel.device)
    }
    let start = folder
    try loadWeights(start, policies: others) { folder in
      try catchingTorchErrors {
        let isOther = folder.url != start.url
        let loaders = try chunks.map { try WeightLoader(folder, for: $0, predictionIsOptional: isOther) }
        try optimizer.fill { parameter in
          let chunk = chunks.firstIndex { $0.table.parameters.contains { $0 === parameter } }!
          return try loaders[chunk].tensor(parameter, dtype: .float32)
        }
      }
    }
  }

  /// Says, without loading anything, whether a model can be divided so: builds what one rank of each stage holds.
  /// - Throws: `ModelError` or `LayoutError`.
  public static func check(_ configuration: ModelConfiguration, _ layout: ParallelLayout, _ options: MegatronOptions) throws {
    let stages = try StagePlan(configuration, layout, options)
    for stage in 0..<stages.stageCount {
      let rank = stage * layout.worldSize / stages.stageCount
      _ = try stages.models(configuration, .imagined(layout, rank: rank), dtype: .float32)
    }
  }

  public func keepWeights(as policy: Policy) throws { try catchingTorchErrors { policies.keep(as: policy) } }

  public func evaluate(
    _ packs: [PackedBatch], policy: Policy, temperature: Double, collect: (_ index: Int, HeadOutput) throws -> Void
  ) throws {
    try policies.with(policy) {
      try withoutGradients {
        try pipeline.run(shapes: packs.map(activationShape), forwardOnly: true) { chunk, index, input in
          let (model, pack) = (chunks[chunk], packs[index])
          let hidden = model.hidden(input ?? pack.tokens, context(model, pack, policy: policy, isTraining: false))
          guard model.stage.holdsHead else { return hidden }
          try collect(index, output(model, hidden, pack, temperature))
          return nil
        }
      }
    }
  }

  public func accumulate(_ packs: [PackedBatch], temperature: Double, loss: @escaping MicroBatchLoss) {
    copyEmbedding()
    pipeline.run(shapes: packs.map(activationShape), forwardOnly: false) { chunk, index, input in
      let (model, pack) = (chunks[chunk], packs[index])
      let context = context(model, pack, policy: .actor, isTraining: true)
      let hidden = model.hidden(input ?? pack.tokens, context)
      guard model.stage.holdsHead else { return hidden }
      return loss(index, output(model, hidden, pack, temperature), model.furtherLogProbs(hidden, pack, context))
    }
  }

  /// Brings the embedding as it is trained by now to prediction layers at the pipeline's other end.
  private func copyEmbedding() {
    guard let group = parallel.pipeline?.embedding, let weight = chunks.lazy.compactMap(\.embeddingForPrediction).first
    else { return }
    withoutGradients { group.broadcast(weight.tensor.detached(), from: 0) }
  }

  private func context(_ model: CausalLM, _ pack: PackedBatch, policy: Policy, isTraining: Bool) -> ForwardContext {
    pack.context(
      model, policy: policy, isTraining: isTraining, runner: runner, implementation: attention,
      recomputesAttention: recomputesAttention)
  }

  private func output(_ model: CausalLM, _ hidden: Tensor, _ pack: PackedBatch, _ temperature: Double) -> HeadOutput {
    model.output(hidden, at: pack.predicting, targets: pack.targets, temperature: temperature)
  }

  private func activationShape(_ pack: PackedBatch) -> [Int] {
    [pack.tokenCount / (parallel.sequenceParallel ? parallel.tensor.size : 1), configuration.hiddenSize]
  }

  public var weightUnitSizes: [Int] { gathering.unitSizes }

  public func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)] {
    try catchingTorchErrors { gathering.weights(ofUnit: index, chunks) }
  }

  public var heldWeights: [HeldWeight] {
    withoutGradients {
      chunks.flatMap(\.table.parameters).flatMap { parameter in
        let tensor = parameter.tensor.detached()
        return parameter.rows.map { piece, rows in
          HeldWeight(name: piece.checkpointName, shape: piece.shape, box: piece.box, values: tensor[rows])
        }
      }
    }
  }

  public func sleep() throws { try refuge.leave() }
  public func wakeUp() throws { try refuge.comeBack() }

  public func applyGradients(learningRate: Double) throws -> GradientStep {
    try refuge.settle()
    let norm = optimizer.step(learningRate: learningRate)
    stepCount += 1
    return GradientStep(norm: norm, isSkipped: !norm.isFinite)
  }
}

extension StagePlan {
  init(_ model: ModelConfiguration, _ layout: ParallelLayout, _ options: MegatronOptions) throws(LayoutError) {
    try self.init(
      layerCount: model.layerCount, stageCount: layout.pipelineParallelSize,
      layersPerVirtualStage: options.layersPerVirtualStage, firstStageLayers: options.firstStageLayers,
      lastStageLayers: options.lastStageLayers)
  }

  /// The chunks of one stage.
  func modelStages(_ stage: Int) -> [ModelStage] {
    layers[stage].enumerated().map { chunk, layers in
      ModelStage(
        layers: layers, holdsEmbedding: stage == 0 && chunk == 0,
        holdsHead: stage == stageCount - 1 && chunk == chunkCount - 1)
    }
  }

  /// A rank's chunks of the model.
  func models(_ configuration: ModelConfiguration, _ parallel: ParallelContext, dtype: DType) throws -> [CausalLM] {
    // As in Megatron-LM: experts are sent tokens that no other rank sends.
    guard parallel.tensor.size == 1 || parallel.sequenceParallel || configuration.mixture == nil else {
      throw ModelError(
        "--tensor-model-parallel-size \(parallel.tensor.size) with a mixture of experts needs --sequence-parallel; add it")
    }
    return try modelStages(parallel.stage).enumerated().map { chunk, stage in
      try configuration.model(parallel: parallel, stage: stage, dtype: dtype, vpStage: chunkCount > 1 ? chunk : nil)
    }
  }
}
