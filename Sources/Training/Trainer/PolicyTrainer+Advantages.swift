import RLAlgorithms
import Torch

extension PolicyTrainer {
  /// Fills in the advantages, and the returns where there is a critic.
  func setAdvantages(_ batch: TrainBatch, _ columns: inout TokenColumns) {
    guard options.loss != .supervised, options.computesAdvantages else {
      columns.advantages = [Float](repeating: 0, count: batch.lossMasks.count)
      return
    }
    let current = options.usesRolloutLogProbs ? columns.rolloutLogProbs : columns.oldLogProbs
    var kl: [Float]?
    if options.klCoefficient != 0, let reference = columns.referenceLogProbs, let current {
      kl = klDivergence(Tensor(current), reference: Tensor(reference), options.klEstimator).array()
    }
    columns.advantages = RLAlgorithms.advantages(
      options.policy.estimator, rewards: batch.rewards, responseLengths: batch.responseLengths.map { Int($0) },
      masks: batch.lossMasks, kl: kl, klCoefficient: options.klCoefficient, discount: options.discount,
      values: columns.values, lambda: options.lambda)
    if let values = columns.values { columns.returns = zip(columns.advantages, values).map { $0 + $1 } }
    if let coefficient = options.distillationCoefficient, let current, let teacher = columns.teacherLogProbs {
      let divergence = zip(current, teacher).map { $0 - $1 }
      columns.advantages = zip(columns.advantages, divergence).map { $0 - coefficient * $1 }
      columns.distillationKL = divergence
    }
    if options.normalizesAdvantages { columns.advantages = whitened(columns.advantages, batch.lossMasks) }
  }

  /// Whitened over the trained tokens of all data-parallel ranks.
  private func whitened(_ values: [Float], _ masks: [UInt8]) -> [Float] {
    let own = MaskedMoments(values, masks: masks)
    let all: [Double] = allReduced(Tensor([own.count, own.sum, own.squares]), over: parallel.data).array()
    var moments = MaskedMoments()
    (moments.count, moments.sum, moments.squares) = (all[0], all[1], all[2])
    return moments.whiten(values)
  }
}
