import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// A model spread over ranks, seen from one of them: what a training algorithm asks of FSDP or Megatron parallelism.
///
/// Every rank is called with micro-batches of the same number and, within a data-parallel group's place, of the same
/// shapes, in the same order.
public protocol TrainBackend: AnyObject {
  var parallel: ParallelContext { get }
  var configuration: ModelConfiguration { get }
  /// Micro-batches come in multiples of this (virtual pipeline stages).
  var microBatchGroup: Int { get }

  /// Runs micro-batches forward without gradients, with the weights of `policy`.
  /// - Parameter collect: told each micro-batch's place and what the head says, in order; on the last stage alone.
  func evaluate(
    _ packs: [PackedBatch], policy: Policy, temperature: Double, collect: (_ index: Int, HeadOutput) throws -> Void
  ) throws

  /// A micro-batch's part of the step's loss.
  /// - Parameters:
  ///   - index: its place.
  ///   - output: what the head says.
  ///   - further: log-probabilities of tokens further on, of each prediction layer that is trained.
  typealias MicroBatchLoss = (_ index: Int, _ output: HeadOutput, _ further: [Tensor]) -> Tensor

  /// Runs micro-batches forward and backward and adds up the gradients.
  /// - Parameter loss: asked on the last stage.
  func accumulate(_ packs: [PackedBatch], temperature: Double, loss: @escaping MicroBatchLoss)

  /// Sums the gradients over the ranks that share weights, clips them, steps, and forgets them.
  func applyGradients(learningRate: Double) throws -> GradientStep

  /// Takes the weights that are trained as those of another policy.
  func keepWeights(as policy: Policy) throws

  /// The weights come in units (a layer each, and what lies outside of them): how many numbers each holds, the same on
  /// every rank.
  var weightUnitSizes: [Int] { get }

  /// The weights of a unit, whole and in fp32, by their checkpoint names, on rank 0; other ranks may get none. Every
  /// rank must ask for the same unit.
  func weights(ofUnit index: Int) throws -> [(name: String, tensor: Tensor)]

  /// What this rank holds of the checkpoint's tensors, as views that stay good until weights are stepped or loaded. Several
  /// ranks may hold the same.
  var heldWeights: [HeldWeight] { get }

  /// Copies this rank's part of the training state and begins to write it into `folder`, which is there already, on a
  /// thread of its own. Every rank must do so.
  /// - Parameter withOptimizer: the optimizer's state too, without which training cannot go on as it was.
  /// - Returns: what the folder's description is made of, where there is one to make.
  func startSaving(into folder: URL, withOptimizer: Bool) throws -> BackgroundTask<RankContents?>

  /// Takes the training state of a folder that any number of ranks of this backend wrote.
  /// - Parameter withOptimizer: false: its weights alone; optimizer and learning rate begin anew.
  func loadState(from folder: URL, withOptimizer: Bool) throws

  /// Optimizer steps done so far.
  var stepCount: Int { get }

  /// Moves what is not needed until `wakeUp` to host memory, so that others may use the device: the optimizer's state, but not
  /// the weights.
  func sleep() throws
  /// What was moved may still be on its way back when this returns.
  func wakeUp() throws
}

extension TrainBackend {
  /// Loads and keeps the weights of other policies, and loads those to start from; a folder is read once.
  func loadWeights(
    _ folder: HuggingFaceFolder, policies: [Policy: HuggingFaceFolder], load: (HuggingFaceFolder) throws -> Void
  ) throws {
    let policies = policies.sorted { $0.key.rawValue < $1.key.rawValue }
    for (policy, other) in policies where other.url != folder.url {
      try load(other)
      try keepWeights(as: policy)
    }
    try load(folder)
    for (policy, other) in policies where other.url == folder.url { try keepWeights(as: policy) }
  }

  /// Visits all weights. Every rank must go through all of them; `visit` runs where the weights are.
  public func forEachWeight(_ visit: (_ name: String, _ tensor: Tensor) throws -> Void) throws {
    for index in weightUnitSizes.indices {
      for (name, tensor) in try weights(ofUnit: index) { try visit(name, tensor) }
    }
  }
}

/// A part of a checkpoint tensor that a rank of a trainer holds.
public struct HeldWeight {
  /// The name in the checkpoint.
  public let name: String
  /// Of the whole tensor.
  public let shape: [Int]
  /// The elements that are held.
  public let box: TensorBox
  /// They, in the box's shape, as they are trained or computed with.
  public let values: Tensor
}

/// Whose weights a model runs with.
public enum Policy: String, Sendable, Codable, CaseIterable {
  /// The one that is trained.
  case actor
  /// What the KL divergence is measured from.
  case reference
  /// Whose log-probabilities are learned from (on-policy distillation).
  case teacher
  /// The one that sampled the data, where that is kept apart from the trained one.
  case oldActor = "old_actor"
}

/// What an optimizer step did.
public struct GradientStep: Sendable, Equatable {
  /// The norm of all gradients before clipping.
  public var norm: Double
  /// Whether the step was left out because the norm was not finite.
  public var isSkipped: Bool

  public init(norm: Double, isSkipped: Bool) { (self.norm, self.isSkipped) = (norm, isSkipped) }
}

public struct TrainReport: Sendable, Codable, Equatable {
  /// `rollout/…` means over the rollout's samples or tokens.
  public var rollout: [String: Double] = [:]
  /// One entry an optimizer step.
  public var steps: [[String: Double]] = []
  /// Trained tokens, prompts included.
  public var tokens = 0
  /// What took how long on this rank, by phase: `log_probs`, `ref_log_probs`, `teacher_log_probs`, `values`, `actor_train`.
  public var seconds: [String: Double] = [:]
  /// Of a critic: what it expected before the first step, for the samples that this rank answers for.
  public var values: [SampleValues] = []
}

public struct ScoredSequence: Sendable, Codable, Equatable {
  public var index: Int
  public var logProbs: [Float]
  public var entropy: [Float]
}

extension Tensor {
  /// A copy in host memory that nobody else uses.
  var hostCopy: Tensor { detached().to(device: .cpu, copy: true).contiguous() }
}
