import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// Fully sharded data parallelism: Hugging Face checkpoints as they are, fp32 master weights and optimizer state spread
/// over the ranks.
public final class FSDPBackend: TrainBackend {
  public let parallel: ParallelContext
  public var configuration: ModelConfiguration { actor.model.configuration }
  public let microBatchGroup = 1
  public internal(set) var stepCount = 0
  let actor: FullyShardedCausalLM
  let optimizer: AdamW
  private let options: TrainingOptions
  private let policies: PolicyWeights

  /// - Parameters:
  ///   - folder: the model and its weights to start from.
  ///   - referenceFolder: those of the reference policy, where the options need one; nil: `folder`.
  public init(
    _ folder: HuggingFaceFolder, reference referenceFolder: HuggingFaceFolder? = nil, options: TrainingOptions,
    parallel: ParallelContext
  ) throws {
    (self.options, self.parallel) = (options, parallel)
    let configuration = try ModelRegistry.configuration(of: folder)
    let actor = try FullyShardedCausalLM(
      configuration, parallel: parallel, computeType: options.computeType,
      gradientCheckpointing: options.gradientCheckpointing)
    self.actor = actor
    policies = PolicyWeights(actor.sharded.shards)
    optimizer = AdamW(actor.sharded.shards, options: options.optimizer)
    if options.needsReference {
      try catchingTorchErrors { try actor.load(referenceFolder ?? folder) }
      try keepWeights(as: .reference)
    }
    if !options.needsReference || referenceFolder != nil { try catchingTorchErrors { try actor.load(folder) } }
  }

  public func keepWeights(as policy: Policy) throws { try catchingTorchErrors { policies.keep(as: policy) } }

  public func evaluate(
    _ packs: [PackedBatch], policy: Policy, temperature: Double, collect: (_ index: Int, TokenStatistics) throws -> Void
  ) throws {
    try policies.with(policy) {
      for (index, pack) in packs.enumerated() {
        let statistics = withoutGradients {
          actor.sharded.withRoot { actor.statistics(pack, temperature: temperature) }
        }
        try collect(index, statistics)
      }
    }
  }

  public func accumulate(
    _ packs: [PackedBatch], temperature: Double, loss: @escaping (_ index: Int, TokenStatistics) -> Tensor
  ) {
    for (index, pack) in packs.enumerated() {
      actor.sharded.withRoot { loss(index, actor.statistics(pack, temperature: temperature)).backward() }
    }
  }

  public func applyGradients(learningRate: Double) -> GradientStep {
    let gradients = actor.sharded.shards.compactMap(\.grad)
    let squares = Tensor.stack(Tensor.foreachNorm(gradients)).square().sum()
    actor.sharded.group.allReduce(squares)
    let norm = squares.sqrt().item()
    if norm.isFinite {
      if options.clipGradient > 0, norm > options.clipGradient {
        withoutGradients { Tensor.foreachMul_(gradients, scalar: options.clipGradient / (norm + 1e-6)) }
      }
      optimizer.step(learningRate: learningRate)
    }
    for shard in actor.sharded.shards { shard.grad = nil }
    stepCount += 1
    return GradientStep(norm: norm, isSkipped: !norm.isFinite)
  }
}
