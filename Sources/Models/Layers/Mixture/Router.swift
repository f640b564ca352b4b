import Parallelism
import Torch

/// Chooses each token's experts and what their outputs are multiplied by, in fp32.
public struct Router {
  /// `[experts, hiddenSize]`
  package let weight: Parameter
  /// `[experts]`; nil: there is none.
  private let bias: Parameter?
  /// `[experts]`, a constant.
  let choiceBias: Parameter?
  static let choiceBiasName = "e_score_correction_bias"
  private let mixture: MixtureConfiguration
  private let layer: Int
  private let parallel: ParallelContext

  package init(
    _ scope: ParameterScope, _ mixture: MixtureConfiguration, hiddenSize: Int, layer: Int, initializer: Initializer,
    parallel: ParallelContext
  ) {
    (self.mixture, self.layer, self.parallel) = (mixture, layer, parallel)
    weight = scope.parameter(
      "weight", shape: [mixture.expertCount, hiddenSize], initializer: initializer, sharing: parallel.sequenceSharing)
    bias = mixture.hasRouterBias
      ? scope.parameter(
        "bias", shape: [mixture.expertCount], initializer: .constant(0), sharing: parallel.sequenceSharing) : nil
    choiceBias = mixture.hasChoiceBias
      ? scope.parameter(
        Self.choiceBiasName, shape: [mixture.expertCount], initializer: .constant(0), isLearned: false) : nil
  }

  /// `[T, hiddenSize]` → experts `[T, expertsPerToken]`, int64, and their weights, fp32, differentiable.
  package func callAsFunction(_ input: Tensor, context: ForwardContext) -> (experts: Tensor, weights: Tensor) {
    let logits = parallel.linear(
      input.to(dtype: .float32), weight.tensor.to(dtype: .float32), bias: bias?.tensor.to(dtype: .float32))
    let scores =
      switch mixture.score {
      case .softmax: logits.softmax(1)
      case .softmaxOfChosen: logits
      case .sigmoid: parallel.sigmoid(logits)
      }
    let experts = withoutGradients { chosen(scores.detached(), context.routing) }
    var weights = scores.gather(1, index: experts)
    if mixture.score == .softmaxOfChosen { weights = weights.softmax(1) }
    if mixture.normalizesWeights { weights = weights / (weights.sum([1], keepdim: true) + 1e-20) }
    if mixture.weightScale != 1 { weights = weights * mixture.weightScale }
    if gradientsEnabled, let loss = context.routerLosses?.loss(logits, mixture, layer: layer) {
      weights = weights.addingGradient(of: loss)
    }
    return (experts, weights)
  }

  /// What the record says, or the best, which the record then says.
  private func chosen(_ scores: Tensor, _ record: RoutingRecord?) -> Tensor {
    if let experts = record?.experts(layer: layer) { return experts.to(dtype: .int64) }
    let experts = best(scores)
    record?.note(experts, layer: layer)
    return experts
  }

  private func best(_ scores: Tensor) -> Tensor {
    var scores = choiceBias.map { scores + $0.tensor } ?? scores
    if let groups = mixture.groups {
      let members = mixture.expertCount / groups.count
      let grouped = scores.view([scores.size(0), groups.count, members])
      let groupScores = grouped.topk(min(groups.scoredExperts, members), dim: 2).values.sum([2])
      let isOut = Tensor.ones(groupScores.shape, dtype: .bool, device: scores.device)
        .scatter_(1, index: groupScores.topk(groups.chosen, dim: 1).indices, value: false)
      scores = grouped.maskedFill(isOut.unsqueeze(2), value: -Double.infinity).flatten(1)
    }
    return scores.topk(mixture.expertsPerToken, dim: 1).indices
  }
}
