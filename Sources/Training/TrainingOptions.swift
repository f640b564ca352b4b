import Checkpoints
import Models
import Parallelism
import RLAlgorithms
import Torch

/// What a training backend learns, and how.
public struct TrainingOptions: Sendable, Equatable, Codable {
  public enum Loss: String, Sendable, Codable {
    case policy, supervised
    /// A critic's: how far its values are from the returns.
    case value
  }

  public var loss = Loss.policy
  public var policy = PolicyLossOptions()
  public var normalization = LossNormalization.perRollout
  /// Logits are divided by it before the softmax, as they were for sampling.
  public var temperature = 1.0
  /// KL to the reference in the reward (PPO and REINFORCE++).
  public var klCoefficient: Float = 0
  /// KL to the reference in the loss; nil: none.
  public var klLossCoefficient: Double?
  public var klEstimator = KLEstimatorKind.k1
  public var entropyCoefficient = 0.0
  public var discount: Float = 1
  /// λ of generalized advantage estimation (PPO).
  public var lambda: Float = 1
  /// How far a critic's value may go from the one before the first step.
  public var valueClip = 0.2
  public var normalizesAdvantages = false
  public var computesAdvantages = true
  /// On-policy distillation: what log p − log p(teacher) takes from a token's advantage; nil: none.
  public var distillationCoefficient: Float?
  /// Rollouts after which the reference becomes the policy that is trained; nil: never.
  public var referenceUpdateInterval: Int?
  /// The old policy is the one that the engine was given last, kept apart from the one that is trained.
  public var keepsOldActor = false
  /// The engine's log-probabilities count as the old policy's.
  public var usesRolloutLogProbs = false
  /// Truncated importance sampling's bounds; nil: none.
  public var importanceBounds: ImportanceBounds?
  public var clipGradient = 1.0
  public var optimizer = AdamW.Options()
  /// Other types than fp32 are for bf16 weights.
  public var precision = OptimizerPrecision()
  public var schedule: LearningRateSchedule
  /// Rollouts an optimizer step.
  public var globalBatchSize: Int
  public var batching: MicroBatching
  public var balancesData = false
  /// Whose choice of experts the training passes repeat; nil: each pass chooses.
  public var routingReplay: RoutingReplay?
  public var routerLosses = RouterLosses.Coefficients()
  /// Weight of the mean loss of the layers that predict tokens further on, which nothing else trains; nil: they are left as
  /// they are.
  public var predictionCoefficient: Double?
  public var sequenceFormat = SequenceLayout.Format.packed
  /// What builds the model (`--custom-model-provider-path`); nil: its family.
  public var modelProvider: String?
  /// Tokens that sequences may have in the rollout engine, where rotary frequencies depend on it; nil: as config.json has it.
  public var contextLength: Int?
  public var computeType = DType.float32
  /// nil: the fastest that the device and the compute type allow.
  public var attention: AttentionImplementation?
  public var gradientCheckpointing = false
  /// Whether a token's log-probability is the same bits however samples are packed and ranks divide them (those of tensor
  /// parallelism aside), and those that a deterministic engine gives; two runs then learn the same bits.
  public var isDeterministic = false
  public var megatron = MegatronOptions()
  public var fsdp = FSDPOptions()

  public struct ImportanceBounds: Sendable, Equatable, Codable {
    public var low: Double
    public var high: Double
    public init(low: Double, high: Double) { (self.low, self.high) = (low, high) }
  }

  public enum RoutingReplay: String, Sendable, Codable {
    /// That of the log-probability pass.
    case training
    /// That of the rollout engine, in the log-probability pass too.
    case rollout
  }

  public init(schedule: LearningRateSchedule, globalBatchSize: Int, batching: MicroBatching) {
    (self.schedule, self.globalBatchSize, self.batching) = (schedule, globalBatchSize, batching)
  }

  public var needsReference: Bool { klLossCoefficient != nil || klCoefficient != 0 }

  /// The folder's model, with the head and the prediction layers that are trained.
  public func configuration(of folder: HuggingFaceFolder) throws -> ModelConfiguration {
    var configuration = try ModelRegistry.configuration(of: folder, provider: modelProvider).reaching(contextLength)
    if loss == .value { configuration.head = .value }
    return loss == .value || predictionCoefficient == nil ? configuration : try configuration.withPredictionLayers()
  }

  /// - Throws: `ModelError` when the one that is asked for cannot train the model there.
  func attention(of model: ModelConfiguration, _ parallel: ParallelContext) throws -> AttentionImplementation {
    if isDeterministic {
      guard parallel.context.size == 1 else {
        throw ModelError(
          "--deterministic-mode does not know --context-parallel-size \(parallel.context.size): rings merge parts of a sequence in "
            + "an order that depends on the rank; use 1")
      }
      guard attention == nil || attention == .flashAttention2 else {
        throw ModelError(
          "--deterministic-mode has an attention of its own, not \(attention!.rawValue); leave --attn-implementation out")
      }
    }
    let device = ImaginedRun.current.map { $0.device == .cuda ? Device.cuda() : .cpu } ?? parallel.device
    let usual = AttentionImplementation.fastest(on: device, computeType, headDimension: isDeterministic ? nil : model.headDimension)
    return try (attention ?? usual).checked(on: device, computeType, headDimension: model.headDimension)
  }
}

/// What cannot be trained on, in one sentence.
public struct TrainingError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
