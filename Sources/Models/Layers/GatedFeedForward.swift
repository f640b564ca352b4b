import Parallelism
import Torch

/// What a layer does with each token by itself.
public protocol FeedForward {
  /// `[T, hiddenSize]` → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  func callAsFunction(_ input: Tensor, context: ForwardContext) -> Tensor
}

/// down(activation(gate(x)) · up(x)): SwiGLU, GeGLU (Shazeer, "GLU Variants Improve Transformer", 2020).
public struct GatedFeedForward: FeedForward {
  let gateUp: ColumnParallelLinear
  let down: RowParallelLinear
  let activation: Activation
  private let parallel: ParallelContext

  /// - Parameter intermediateSize: nil: the configuration's.
  public init(
    _ scope: ParameterScope, _ configuration: ModelConfiguration, intermediateSize: Int? = nil, parallel: ParallelContext
  ) {
    self.parallel = parallel
    let initializer = Initializer.normal(standardDeviation: configuration.initializerRange)
    let (hidden, bias) = (configuration.hiddenSize, configuration.feedForwardBias)
    activation = configuration.activation
    let inner = intermediateSize ?? configuration.intermediateSize
    gateUp = ColumnParallelLinear(
      scope, "gate_up_proj",
      parts: ["gate_proj", "up_proj"].map { .init($0, outputSize: inner, sliceCount: parallel.tensor.size) },
      inputSize: hidden, bias: bias, initializer: initializer, parallel: parallel)
    down = RowParallelLinear(
      scope("down_proj"), inputSize: inner, outputSize: hidden, bias: bias, initializer: initializer, parallel: parallel)
  }

  public func callAsFunction(_ input: Tensor) -> Tensor {
    let both = gateUp(input).chunk(2, dim: 1)
    return down(activation.gated(both[0], both[1], parallel))
  }

  public func callAsFunction(_ input: Tensor, context: ForwardContext) -> Tensor {
    context.fusesOperators && activation == .silu ? down(Kernels.siluMultiply(gateUp(input))) : self(input)
  }
}
