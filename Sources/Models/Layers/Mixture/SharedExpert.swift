import Parallelism
import Torch

/// The feed-forward layer of a mixture that every token uses, split over the tensor-parallel ranks as a dense one.
public struct SharedExpert {
  private let feedForward: GatedFeedForward
  /// `[1, hiddenSize]`
  private let gate: Parameter?
  private let parallel: ParallelContext

  init(
    _ scope: ParameterScope, _ shared: MixtureConfiguration.SharedExpert, _ configuration: ModelConfiguration,
    parallel: ParallelContext
  ) {
    self.parallel = parallel
    feedForward = GatedFeedForward(
      scope(shared.name), configuration, intermediateSize: shared.intermediateSize, parallel: parallel)
    gate = shared.isGated
      ? scope(shared.name + "_gate").parameter(
        "weight", shape: [1, configuration.hiddenSize],
        initializer: .normal(standardDeviation: configuration.initializerRange), sharing: parallel.sequenceSharing) : nil
  }

  func callAsFunction(_ input: Tensor) -> Tensor {
    let output = feedForward(input)
    return gate.map { output * parallel.sigmoid(parallel.linear(input, $0.tensor)) } ?? output
  }
}
