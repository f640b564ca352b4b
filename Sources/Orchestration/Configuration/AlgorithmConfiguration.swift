import RLAlgorithms

/// What is learned from the samples. Names and defaults are those of slime.
public struct AlgorithmConfiguration: Sendable, Equatable, Codable {
  public var lossType = LossType.policy
  public var advantageEstimator = AdvantageEstimatorKind.grpo
  /// How far below 1 the probability ratio may go before it is clipped, and above it unless `clipHigh` is set.
  public var clip = 0.2
  public var clipHigh: Double?
  /// Dual clip: bounds the loss of negative advantages; nil: none.
  public var clipDual: Double?
  /// Weight of the KL divergence from the reference in the reward.
  public var klCoefficient = 0.0
  /// Adds the KL divergence from the reference to the loss (and to the metrics, at coefficient 0).
  public var useKLLoss = false
  public var klLossCoefficient = 0.0
  public var klLossType = KLEstimatorKind.k1
  /// Rollouts after which the reference becomes the policy that is trained; nil: never.
  public var referenceUpdateInterval: Int?
  public var entropyCoefficient = 0.0
  /// Discount of `ppo` and `reinforce_plus_plus`.
  public var gamma = 1.0
  /// Whitens advantages over the batch.
  public var normalizeAdvantages = false
  public var normalizeRewards = true
  /// Divides rewards by their group's standard deviation.
  public var normalizeRewardsByDeviation = true
  /// Averages the loss over the step's tokens instead of over each rollout's.
  public var perTokenLoss = false
  /// Truncated importance sampling: weighs tokens by how the trainer's log-probs differ from the engine's.
  public var useTIS = false
  public var tisClip = 2.0
  public var tisClipLow = 0.0
  /// Takes the engine's log-probs as the old policy's.
  public var useRolloutLogProbs = false
  /// The old policy is what the engine samples with, kept apart from what was trained since.
  public var keepsOldActor = false
  public var computesAdvantages = true
  /// Whether the layers that predict tokens further on, which an engine drafts with, are trained too; otherwise they stay.
  public var trainsPredictionLayers = false
  /// Weight of their mean loss.
  public var predictionLossScale = 0.2

  public init() {}

  public var needsReference: Bool { useKLLoss || klCoefficient != 0 }
}

public enum LossType: String, Sendable, Codable, CaseIterable {
  case policy = "policy_loss"
  case supervised = "sft_loss"
}
