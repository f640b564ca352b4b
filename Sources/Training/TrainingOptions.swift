import Models
import Parallelism
import RLAlgorithms
import Torch

/// What a training backend learns, and how.
public struct TrainingOptions: Sendable, Equatable, Codable {
  public enum Loss: String, Sendable, Codable {
    case policy, supervised
  }

  public var loss = Loss.policy
  public var policy = PolicyLossOptions()
  public var normalization = LossNormalization.perRollout
  /// Logits are divided by it before the softmax, as they were for sampling.
  public var temperature = 1.0
  /// KL to the reference in the reward (REINFORCE++).
  public var klCoefficient: Float = 0
  /// KL to the reference in the loss; nil: none.
  public var klLossCoefficient: Double?
  public var klEstimator = KLEstimatorKind.k1
  public var entropyCoefficient = 0.0
  public var discount: Float = 1
  public var normalizesAdvantages = false
  public var computesAdvantages = true
  /// The engine's log-probabilities count as the old policy's.
  public var usesRolloutLogProbs = false
  /// Truncated importance sampling's bounds; nil: none.
  public var importanceBounds: ImportanceBounds?
  public var clipGradient = 1.0
  public var optimizer = AdamW.Options()
  public var schedule: LearningRateSchedule
  /// Rollouts an optimizer step.
  public var globalBatchSize: Int
  public var batching: MicroBatching
  public var balancesData = false
  /// The training passes send tokens to the experts that the log-probability pass chose (routing replay).
  public var replaysRouting = false
  public var routerLosses = RouterLosses.Coefficients()
  public var sequenceFormat = SequenceLayout.Format.packed
  public var computeType = DType.float32
  /// nil: the fastest that the device and the compute type allow.
  public var attention: AttentionImplementation?
  public var gradientCheckpointing = false
  public var megatron = MegatronOptions()
  public var fsdp = FSDPOptions()

  public struct ImportanceBounds: Sendable, Equatable, Codable {
    public var low: Double
    public var high: Double
    public init(low: Double, high: Double) { (self.low, self.high) = (low, high) }
  }

  public init(schedule: LearningRateSchedule, globalBatchSize: Int, batching: MicroBatching) {
    (self.schedule, self.globalBatchSize, self.batching) = (schedule, globalBatchSize, batching)
  }

  public var needsReference: Bool { klLossCoefficient != nil || klCoefficient != 0 }

  /// - Throws: `ModelError` when the one that is asked for cannot train the model there.
  func attention(of model: ModelConfiguration, _ parallel: ParallelContext) throws -> AttentionImplementation {
    let device = ImaginedRun.current.map { $0.device == .cuda ? Device.cuda() : .cpu } ?? parallel.device
    return try (attention ?? .fastest(on: device, computeType)).checked(
      on: device, computeType, headDimension: model.headDimension, contextParallelSize: parallel.context.size)
  }
}

/// What cannot be trained on, in one sentence.
public struct TrainingError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
