extension AlgorithmConfiguration {
  func validate() throws(ConfigurationError) {
    try lossType == .supervised ? validateSupervised() : validatePolicy()
    try require(
      trainsPredictionLayers || predictionLossScale == AlgorithmConfiguration().predictionLossScale,
      "--mtp-loss-scaling-factor has no effect without --enable-mtp-training; add it")
    try require(
      predictionLossScale > 0 && predictionLossScale.isFinite,
      "--mtp-loss-scaling-factor must be above 0, not \(predictionLossScale)")
  }

  /// A supervised loss knows neither rewards nor old policies.
  private func validateSupervised() throws(ConfigurationError) {
    var plain = AlgorithmConfiguration()
    (plain.lossType, plain.perTokenLoss, plain.computesAdvantages) = (lossType, perTokenLoss, computesAdvantages)
    (plain.trainsPredictionLayers, plain.predictionLossScale) = (trainsPredictionLayers, predictionLossScale)
    guard self != plain else { return }
    let set: [(String, Bool)] = [
      ("advantage-estimator", advantageEstimator != plain.advantageEstimator), ("eps-clip", clip != plain.clip),
      ("eps-clip-high", clipHigh != nil), ("eps-clip-c", clipDual != nil), ("kl-coef", klCoefficient != 0),
      ("use-kl-loss", useKLLoss), ("kl-loss-coef", klLossCoefficient != 0), ("kl-loss-type", klLossType != plain.klLossType),
      ("entropy-coef", entropyCoefficient != 0), ("gamma", gamma != plain.gamma),
      ("normalize-advantages", normalizeAdvantages), ("disable-rewards-normalization", !normalizeRewards),
      ("disable-grpo-std-normalization", !normalizeRewardsByDeviation), ("use-tis", useTIS),
      ("tis-clip", tisClip != plain.tisClip), ("tis-clip-low", tisClipLow != plain.tisClipLow),
      ("use-rollout-logprobs", useRolloutLogProbs), ("keep-old-actor", keepsOldActor),
      ("ref-update-interval", referenceUpdateInterval != nil),
    ]
    for (flag, isSet) in set where isSet {
      throw ConfigurationError("--\(flag) has no effect on --loss-type sft_loss; leave it out")
    }
  }

  private func validatePolicy() throws(ConfigurationError) {
    try require(
      computesAdvantages, "--disable-compute-advantages-and-returns leaves --loss-type policy_loss nothing to learn from; leave it out")
    try validateClips()
    let estimator = advantageEstimator
    let isReinforce = estimator == .reinforcePlusPlus || estimator == .reinforcePlusPlusBaseline
    try require(
      klCoefficient == 0 || isReinforce || estimator == .ppo,
      "--kl-coef has no effect with --advantage-estimator \(estimator.rawValue); use --use-kl-loss --kl-loss-coef \(klCoefficient)")
    try require(
      klLossCoefficient == 0 || useKLLoss, "--kl-loss-coef has no effect without --use-kl-loss; add it")
    try require(
      klLossType == .k1 || needsReference, "--kl-loss-type has no effect without --use-kl-loss; add it")
    try require(
      referenceUpdateInterval == nil || needsReference,
      "--ref-update-interval has no effect without --use-kl-loss or --kl-coef; add one of them")
    try require(
      referenceUpdateInterval ?? 1 >= 1, "--ref-update-interval must be at least 1, not \(referenceUpdateInterval ?? 0)")
    try require(
      !(keepsOldActor && useRolloutLogProbs),
      "--keep-old-actor and --use-rollout-logprobs both say whose log-probs are the old ones; give one of them")
    try require(
      gamma == 1 || estimator == .reinforcePlusPlus || estimator == .ppo,
      "--gamma has no effect without --advantage-estimator ppo or reinforce_plus_plus; leave it out")
    try require((0...1).contains(gamma), "--gamma must be between 0 and 1, not \(gamma)")
    try require(
      !isReinforce || normalizeAdvantages, "--advantage-estimator \(estimator.rawValue) needs --normalize-advantages; add it")
    try require(
      normalizeRewards || estimator != .reinforcePlusPlus && estimator != .ppo,
      "--disable-rewards-normalization has no effect with --advantage-estimator \(estimator.rawValue); leave it out")
    try require(
      normalizeRewardsByDeviation || (normalizeRewards && !isReinforce && estimator != .ppo),
      "--disable-grpo-std-normalization has no effect "
        + (normalizeRewards ? "with --advantage-estimator \(estimator.rawValue)" : "with --disable-rewards-normalization")
        + "; leave it out")
    try require(
      !(useTIS && useRolloutLogProbs),
      "--use-tis corrects log-probs that --use-rollout-logprobs takes as they are; give one of them")
  }

  private func validateClips() throws(ConfigurationError) {
    try require(clip >= 0, "--eps-clip must not be negative, not \(clip)")
    try require(clipHigh ?? 0 >= 0, "--eps-clip-high must not be negative, not \(clipHigh ?? 0)")
    if let clipDual {
      try require(clipDual > 1, "--eps-clip-c must be above 1, not \(clipDual)")
      try require(advantageEstimator != .cispo, "--eps-clip-c has no effect with --advantage-estimator cispo; leave it out")
    }
    let plain = AlgorithmConfiguration()
    try require(useTIS || tisClip == plain.tisClip, "--tis-clip has no effect without --use-tis; add it")
    try require(useTIS || tisClipLow == plain.tisClipLow, "--tis-clip-low has no effect without --use-tis; add it")
    try require(
      tisClipLow >= 0 && tisClipLow <= tisClip, "--tis-clip-low must be between 0 and --tis-clip \(tisClip), not \(tisClipLow)")
  }
}
