import Parallelism
import Torch

/// down(activation(up(x))), as in GPT-2.
public struct PlainFeedForward: FeedForward {
  let up: ColumnParallelLinear
  let down: RowParallelLinear
  let activation: Activation
  private let parallel: ParallelContext

  public init(_ scope: ParameterScope, _ configuration: ModelConfiguration, parallel: ParallelContext) {
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    let (hidden, inner) = (configuration.hiddenSize, configuration.intermediateSize)
    (activation, self.parallel) = (configuration.activation, parallel)
    up = ColumnParallelLinear(
      scope, "fc_in", parts: [.init("fc_in", outputSize: inner, sliceCount: parallel.tensor.size)], inputSize: hidden,
      bias: configuration.feedForwardBias, initializer: initializer, parallel: parallel)
    down = RowParallelLinear(
      scope("fc_out"), inputSize: inner, outputSize: hidden, bias: configuration.feedForwardBias, initializer: initializer,
      parallel: parallel)
  }

  public func callAsFunction(_ input: Tensor, context: ForwardContext) -> Tensor { down(activation(up(input), parallel)) }
}
