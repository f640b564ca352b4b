import Training

/// The critic of `--advantage-estimator ppo`: a trainer of its own that learns what to expect of each token.
public struct CriticConfiguration: Sendable, Equatable, Codable {
  /// Checkpoints to continue it from, or a Hugging Face folder to start it from; nil: beside `--load`, and the actor's model.
  public var load: String?
  /// nil: `critic` in `--save`.
  public var save: String?
  /// nil: the actor's.
  public var learningRate: Double?
  public var warmupSteps = 0
  /// Rollouts at the beginning from which the critic alone learns.
  public var onlySteps = 0
  /// How far a value may go from the one before the first step of a rollout.
  public var valueClip = 0.2
  /// λ of generalized advantage estimation.
  public var lambda = 1.0
  /// nil: the actor's.
  public var nodes: Int?
  public var gpusPerNode: Int?

  public init() {}
}

extension TrainConfiguration {
  public var usesCritic: Bool { !isSupervised && algorithm.advantageEstimator == .ppo }

  public var criticRanks: Int { (critic.nodes ?? cluster.actorNodes) * (critic.gpusPerNode ?? cluster.actorGPUsPerNode) }

  /// The critic's learning: the actor's, but for the learning rate, and what concerns a policy alone.
  func criticOptions(rolloutCount: Int) throws -> TrainingOptions {
    var own = self
    own.distillation = DistillationConfiguration()
    (own.algorithm.keepsOldActor, own.algorithm.referenceUpdateInterval) = (false, nil)
    own.optimizer.learningRate = critic.learningRate ?? optimizer.learningRate
    (own.optimizer.warmupSteps, own.optimizer.warmupFraction, own.optimizer.warmupInit) = (critic.warmupSteps, nil, 0)
    // As in slime, a critic knows of no divergence: that is the actor's own part of the reward.
    (own.algorithm.klCoefficient, own.algorithm.useKLLoss, own.algorithm.normalizeAdvantages) = (0, false, false)
    own.critic.onlySteps = 0
    return try own.trainingOptions(rolloutCount: rolloutCount)
  }

  func validateCritic() throws(ConfigurationError) {
    guard usesCritic else {
      try require(
        critic == CriticConfiguration(),
        "--critic-…, --num-critic-only-steps, --value-clip and --lambd have no effect without --advantage-estimator ppo; "
          + "add it, or leave them out")
      return
    }
    let rate = critic.learningRate ?? optimizer.learningRate
    try require(rate >= 0 && rate.isFinite, "--critic-lr must not be negative, not \(rate)")
    try require(
      optimizer.minLearningRate <= rate, "--min-lr \(optimizer.minLearningRate) is above --critic-lr \(rate); lower it")
    try require(critic.warmupSteps >= 0, "--critic-lr-warmup-iters must not be negative, not \(critic.warmupSteps)")
    try require(critic.onlySteps >= 0, "--num-critic-only-steps must not be negative, not \(critic.onlySteps)")
    try require(critic.valueClip > 0, "--value-clip must be above 0, not \(critic.valueClip)")
    try require((0...1).contains(critic.lambda), "--lambd must be between 0 and 1, not \(critic.lambda)")
    try require(
      critic.nodes ?? 1 == 1,
      "--critic-num-nodes \(critic.nodes ?? 1) is not supported yet: a run has one machine; use 1")
    try require(critic.gpusPerNode ?? 1 >= 1, "--critic-num-gpus-per-node must be at least 1, not \(critic.gpusPerNode ?? 0)")
    try require(
      criticRanks <= cluster.trainerRanks,
      "--critic-num-gpus-per-node \(criticRanks) is more than the actor's \(cluster.trainerRanks) devices, which the critic "
        + "shares; lower it or raise --actor-num-gpus-per-node")
    try require(
      critic.save == nil || critic.save != checkpoint.save,
      "--critic-save is the folder of --save, where the actor's checkpoints go; give another, or leave it out")
    try require(
      critic.save == nil || checkpoint.save != nil,
      "--critic-save has no effect without --save, which says what a run continues from; add --save FOLDER")
  }
}
