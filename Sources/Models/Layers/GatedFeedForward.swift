import Parallelism
import Torch

/// SwiGLU: down(silu(gate(x)) · up(x)) (Shazeer, "GLU Variants Improve Transformer", 2020).
public struct GatedFeedForward {
  let gateUp: ColumnParallelLinear
  let down: RowParallelLinear

  public init(_ scope: ParameterScope, _ configuration: ModelConfiguration, parallel: ParallelContext) {
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    let (hidden, inner, bias) = (configuration.hiddenSize, configuration.intermediateSize, configuration.feedForwardBias)
    gateUp = ColumnParallelLinear(
      scope, "gate_up_proj",
      parts: ["gate_proj", "up_proj"].map { .init($0, outputSize: inner, sliceCount: parallel.tensor.size) },
      inputSize: hidden, bias: bias, initializer: initializer, parallel: parallel)
    down = RowParallelLinear(
      scope("down_proj"), inputSize: inner, outputSize: hidden, bias: bias, initializer: initializer, parallel: parallel)
  }

  func callAsFunction(_ input: Tensor) -> Tensor {
    let both = gateUp(input).chunk(2, dim: 1)
    return down(both[0].silu() * both[1])
  }
}
