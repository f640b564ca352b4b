import Models
import Parallelism
import RLAlgorithms
import Torch

/// A micro-batch's part of the step's loss, with what is reported of it (sums weighted as the loss is).
struct StepLoss {
  private(set) var loss: Tensor
  private(set) var metrics: [(name: String, value: Tensor)]

  /// - Parameters:
  ///   - output: what the head says of the response tokens, differentiable.
  ///   - further: log-probabilities of tokens further on, of each prediction layer that is trained.
  init(_ output: HeadOutput, further: [Tensor], _ inputs: LossInputs, _ options: TrainingOptions) {
    switch output {
    case .vocabulary(let statistics): self.init(statistics, inputs, options)
    case .value(let values): self.init(values: values, inputs, options)
    }
    guard let coefficient = options.predictionCoefficient else { return }
    for (layer, (logProbs, weights)) in zip(further, inputs.furtherWeights).enumerated() {
      let own = -(logProbs * weights).sum()
      loss = loss + own * (coefficient / Double(further.count))
      metrics.append((further.count == 1 ? "mtp_loss" : "mtp_\(layer + 1)_loss", own.detached()))
    }
  }

  private init(values: Tensor, _ inputs: LossInputs, _ options: TrainingOptions) {
    func reduce(_ perToken: Tensor) -> Tensor { (perToken * inputs.weights).sum() }
    guard let old = inputs.values, let returns = inputs.returns else {
      preconditionFailure("a critic learns from returns")
    }
    let value = valueLoss(values, old: old, returns: returns, clip: options.valueClip)
    loss = reduce(value.loss)
    metrics = [("value_loss", loss.detached()), ("value_clipfrac", reduce(value.clipFraction))]
  }

  private init(_ statistics: TokenStatistics, _ inputs: LossInputs, _ options: TrainingOptions) {
    func reduce(_ perToken: Tensor) -> Tensor { (perToken * inputs.weights).sum() }
    let logProbs = statistics.logProbs
    guard options.loss == .policy else {
      loss = reduce(-logProbs)
      metrics = [("loss", loss.detached())]
      return
    }
    // Without a pass of their own the old log-probabilities are the current ones: the ratio is 1, its gradient is not 0.
    let trained = inputs.oldLogProbs ?? logProbs.detached()
    let old = options.usesRolloutLogProbs ? inputs.rolloutLogProbs ?? trained : trained
    let policy = policyLoss(
      options.policy, logProbs: logProbs, old: old, advantages: inputs.advantages, sequenceMean: inputs.sequenceMean)
    var perToken = policy.loss
    metrics = []
    if let rollout = inputs.rolloutLogProbs {
      if let bounds = options.importanceBounds {
        let weight = truncatedImportanceWeights(train: trained, rollout: rollout, low: bounds.low, high: bounds.high)
        perToken = perToken * weight.clamped
        metrics += [
          ("tis", reduce(weight.clamped)), ("ois", reduce((-policy.kl.detached()).exp())),
          ("tis_clipfrac", reduce(weight.clamped.ne(weight.raw).to(dtype: .float32))),
          ("tis_abs", reduce((weight.clamped - 1).abs())),
        ]
      }
      metrics.append(("train_rollout_logprob_abs_diff", reduce((trained - rollout).abs())))
    }
    let policyTerm = reduce(perToken)
    let entropyTerm = reduce(statistics.entropy)
    var total = policyTerm
    if options.entropyCoefficient != 0 { total = total - entropyTerm * options.entropyCoefficient }
    if let coefficient = options.klLossCoefficient, let reference = inputs.referenceLogProbs {
      let divergence = reduce(klDivergence(logProbs, reference: reference, options.klEstimator))
      if coefficient != 0 { total = total + divergence * coefficient }
      metrics.append(("kl_loss", divergence.detached()))
    }
    if let divergence = inputs.distillationKL { metrics.append(("opd_reverse_kl", reduce(divergence))) }
    loss = total
    metrics += [
      ("loss", total.detached()), ("pg_loss", policyTerm.detached()), ("entropy_loss", entropyTerm.detached()),
      ("pg_clipfrac", reduce(policy.clipFraction)), ("ppo_kl", reduce(policy.kl.detached())),
    ]
  }
}
