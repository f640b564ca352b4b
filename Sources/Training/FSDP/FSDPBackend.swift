import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// Fully sharded data parallelism: Hugging Face checkpoints as they are, fp32 master weights and optimizer state spread
/// over the ranks, on several copies of the weights where the layout says so.
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

  /// - Parameters:
  ///   - folder: the model and its weights to start from.
  ///   - referenceFolder: those of the reference policy, where the options need one; nil: `folder`.
  /// - Throws: `TrainingError` or `ModelError` when layout, type or attention are not for FSDP.
  public init(
    _ folder: HuggingFaceFolder, reference referenceFolder: HuggingFaceFolder? = nil, options: TrainingOptions,
    parallel: ParallelContext
  ) throws {
    (self.options, self.parallel) = (options, parallel)
    try Self.check(parallel.layout)
    let configuration = try ModelRegistry.configuration(of: folder)
    let actor = try catchingTorchErrors { try FullyShardedCausalLM(configuration, options: options, parallel: parallel) }
    self.actor = actor
    policies = PolicyWeights(actor.sharded.weights)
    optimizer = AdamW(actor.sharded.shards, options: options.optimizer)
    lossScale = options.computeType == .float16 ? DynamicLossScale(options.fsdp.lossScale) : nil
    if options.needsReference {
      try catchingTorchErrors { try actor.load(referenceFolder ?? folder) }
      try keepWeights(as: .reference)
    }
    if !options.needsReference || referenceFolder != nil { try catchingTorchErrors { try actor.load(folder) } }
  }

  static func check(_ layout: ParallelLayout) throws {
    for (flag, size) in [
      ("--tensor-model-parallel-size", layout.tensorParallelSize),
      ("--pipeline-model-parallel-size", layout.pipelineParallelSize),
      ("--expert-tensor-parallel-size", layout.expertTensorParallelSize),
    ] where size > 1 {
      throw TrainingError("\(flag) \(size) belongs to --train-backend megatron; add it, or leave the size out")
    }
  }

  public func keepWeights(as policy: Policy) throws { try catchingTorchErrors { policies.keep(as: policy) } }

  public func evaluate(
    _ packs: [PackedBatch], policy: Policy, temperature: Double, collect: (_ index: Int, TokenStatistics) throws -> Void
  ) throws {
    try policies.with(policy) {
      try actor.sharded.withRoot {
        for (index, pack) in packs.enumerated() {
          let statistics = withoutGradients {
            actor.sharded.pass { actor.statistics(pack, policy: policy, isTraining: false, temperature: temperature) }
          }
          try collect(index, statistics)
        }
      }
    }
  }

  public func accumulate(
    _ packs: [PackedBatch], temperature: Double, loss: @escaping (_ index: Int, TokenStatistics) -> Tensor
  ) {
    actor.sharded.withRoot {
      for (index, pack) in packs.enumerated() {
        actor.sharded.pass {
          let loss = loss(
            index, actor.statistics(pack, policy: .actor, isTraining: true, temperature: temperature))
          (lossScale.map { loss * $0.scale } ?? loss).backward()
        }
      }
    }
  }

  public func applyGradients(learningRate: Double) -> GradientStep {
    actor.sharded.reduceOverReplicas()
    let gradients = actor.sharded.shards.compactMap(\.grad)
    func multiply(by factor: Double) { withoutGradients { Tensor.foreachMul_(gradients, scalar: factor) } }
    if let lossScale { multiply(by: 1 / lossScale.scale) }
    let norm = actor.sharded.gradientNorm()
    if norm.isFinite {
      if options.clipGradient > 0, norm > options.clipGradient { multiply(by: options.clipGradient / (norm + 1e-6)) }
      optimizer.step(learningRate: learningRate)
    }
    lossScale?.update(isFinite: norm.isFinite, options.fsdp.lossScale)
    for shard in actor.sharded.shards { shard.grad = nil }
    stepCount += 1
    return GradientStep(norm: norm, isSkipped: !norm.isFinite)
  }
}
