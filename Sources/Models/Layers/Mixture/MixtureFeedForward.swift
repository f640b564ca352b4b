import Parallelism
import Torch

/// A feed-forward layer of experts: each token's output is the weighted sum of its experts' outputs, and the shared
/// expert's where there is one.
public struct MixtureFeedForward: FeedForward {
  let router: Router
  let experts: Experts
  let shared: SharedExpert?
  private let expertCount: Int
  private let parallel: ParallelContext

  public init(
    _ scope: ParameterScope, _ mixture: MixtureConfiguration, _ configuration: ModelConfiguration, layer: Int,
    parallel: ParallelContext
  ) {
    (expertCount, self.parallel) = (mixture.expertCount, parallel)
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    router = Router(
      scope("gate"), mixture, hiddenSize: configuration.hiddenSize, layer: layer, initializer: initializer,
      parallel: parallel)
    experts = Experts(
      scope("experts"), mixture, hiddenSize: configuration.hiddenSize, activation: configuration.activation,
      initializer: initializer, parallel: parallel)
    shared = mixture.shared.map { SharedExpert(scope, $0, configuration, parallel: parallel) }
  }

  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  public func callAsFunction(_ input: Tensor, context: ForwardContext) -> Tensor {
    let (chosen, weights) = router(input, context: context)
    if parallel.tensor.size > 1, !parallel.sequenceParallel { return replicated(input, chosen, weights) }
    let dispatch = TokenDispatch(chosen, expertCount: expertCount, parallel: parallel)
    let outputs = dispatch.collected(experts(dispatch.dispatched(input), dispatch.groups))
    let routed = parallel.weightedSum(outputs, weights)
    return shared.map { routed + $0(input) } ?? routed
  }

  /// All tokens are on every tensor-parallel rank (an engine's): each computes what its experts, or its parts of them,
  /// make of them, and the results are summed. Without gradients.
  private func replicated(_ input: Tensor, _ chosen: Tensor, _ weights: Tensor) -> Tensor {
    let own = OwnRows(chosen, expertCount: expertCount, parallel: parallel)
    let outputs = own.collected(experts(own.rows(of: input), own.groups))
    // Training has each expert's whole output when it weighs them.
    let routed = parallel.isDeterministic
      ? parallel.weightedSum(outputs.summed(over: parallel.tensor, inOrder: true), weights)
      : parallel.weightedSum(outputs, weights).summed(over: parallel.tensor)
    return shared.map { routed + $0(input) } ?? routed
  }
}
