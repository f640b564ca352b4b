import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// Fully sharded data parallelism: Hugging Face checkpoints as they are, trained weights and optimizer state spread over the
/// ranks, on several copies of the weights where the layout says so.
public final class FSDPBackend: TrainBackend {
  public let parallel: ParallelContext
  public var configuration: ModelConfiguration { actor.model.configuration }
  public let microBatchGroup = 1
  public internal(set) var stepCount = 0
  let actor: FullyShardedCausalLM
  let optimizer: AdamW
  /// Of fp16; nil for types that need none.
  public internal(set) var lossScale: DynamicLossScale?
  private let options: TrainingOptions
  private let policies: PolicyWeights
  lazy var refuge = HostRefuge(
    optimizer.firstMoments + optimizer.secondMoments + actor.sharded.units.compactMap(\.master.remainders))

  /// - Parameters:
  ///   - folder: the model and its weights to start from.
  ///   - others: those of other policies, which are kept.
  /// - Throws: `TrainingError` or `ModelError` when layout, type or attention are not for FSDP.
  public init(
    _ folder: HuggingFaceFolder, policies others: [Policy: HuggingFaceFolder] = [:], options: TrainingOptions,
    parallel: ParallelContext
  ) throws {
    var parallel = parallel
    parallel.isDeterministic = options.isDeterministic
    (self.options, self.parallel) = (options, parallel)
    let configuration = try options.configuration(of: folder)
    try Self.check(configuration, parallel.layout)
    let actor = try catchingTorchErrors { try FullyShardedCausalLM(configuration, options: options, parallel: parallel) }
    self.actor = actor
    policies = PolicyWeights(actor.sharded.weights)
    optimizer = AdamW(actor.sharded.units.map(\.master), options: options.optimizer, precision: options.precision)
    lossScale = options.computeType == .float16 ? DynamicLossScale(options.fsdp.lossScale) : nil
    let start = folder
    try loadWeights(start, policies: others) { folder in
      try catchingTorchErrors { try actor.load(folder, predictionIsOptional: folder.url != start.url) }
    }
  }

  /// Says, without loading anything, whether a model can be divided so.
  /// - Throws: `TrainingError` or `ModelError`.
  public static func check(_ configuration: ModelConfiguration, _ layout: ParallelLayout) throws {
    for (flag, size) in [
      ("--tensor-model-parallel-size", layout.tensorParallelSize),
      ("--pipeline-model-parallel-size", layout.pipelineParallelSize),
      ("--expert-tensor-parallel-size", layout.expertTensorParallelSize),
    ] where size > 1 {
      throw TrainingError("\(flag) \(size) belongs to --train-backend megatron; add it, or leave the size out")
    }
    _ = try configuration.model(parallel: .imagined(layout, rank: 0), dtype: .float32)
  }

  public func keepWeights(as policy: Policy) throws { try catchingTorchErrors { policies.keep(as: policy) } }

  public func evaluate(
    _ packs: [PackedBatch], policy: Policy, temperature: Double, collect: (_ index: Int, HeadOutput) throws -> Void
  ) throws {
    try policies.with(policy) {
      try actor.sharded.withRoot(blocks: configuration.layerCount) {
        for (index, pack) in packs.enumerated() {
          let output = withoutGradients {
            actor.sharded.pass { actor.output(pack, policy: policy, isTraining: false, temperature: temperature).head }
          }
          try collect(index, output)
        }
      }
    }
  }

  public func accumulate(_ packs: [PackedBatch], temperature: Double, loss: @escaping MicroBatchLoss) {
    actor.sharded.withRoot {
      for (index, pack) in packs.enumerated() {
        actor.sharded.pass {
          let output = actor.output(pack, policy: .actor, isTraining: true, temperature: temperature)
          let loss = loss(index, output.head, output.further)
          (lossScale.map { loss * $0.scale } ?? loss).backward()
        }
      }
    }
  }

  public func sleep() throws { try refuge.leave() }
  public func wakeUp() throws { try refuge.comeBack() }

  public func applyGradients(learningRate: Double) throws -> GradientStep {
    try refuge.settle()
    let units = actor.sharded.units
    actor.sharded.reduceOverReplicas()
    if let lossScale {
      withoutGradients { Tensor.foreachMul_(units.compactMap(\.gradient), scalar: 1 / lossScale.scale) }
    }
    let norm = actor.sharded.gradientNorm()
    if norm.isFinite {
      let isClipped = options.clipGradient > 0 && norm > options.clipGradient
      optimizer.step(
        units.map(\.gradient), learningRate: learningRate,
        gradientScale: isClipped ? options.clipGradient / (norm + 1e-6) : 1)
    }
    lossScale?.update(isFinite: norm.isFinite, options.fsdp.lossScale)
    for unit in units { unit.gradient = nil }
    stepCount += 1
    return GradientStep(norm: norm, isSkipped: !norm.isFinite)
  }
}
