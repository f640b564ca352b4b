import Torch

/// Root-mean-square norm over the last dimension (Zhang & Sennrich, 2019), computed in fp32, scaled in the input's type
/// as `transformers` does for Llama and Qwen.
public struct RMSNorm: Norm {
  public let weight: Parameter
  let epsilon: Double

  public init(_ scope: ParameterScope, size: Int, epsilon: Double, sharing: WeightSharing) {
    weight = scope.parameter("weight", shape: [size], initializer: .constant(1), sharing: sharing)
    self.epsilon = epsilon
  }

  public func callAsFunction(_ input: Tensor) -> Tensor {
    if input.device.kind == .meta, ImaginedRun.current?.device == .cpu { return plain(input) }
    return input.rmsNorm(weight.shape, weight: weight.tensor, eps: epsilon)
  }

  /// input + delta (nil: input itself), and the norm of that.
  func callAsFunction(adding delta: Tensor?, to input: Tensor, context: ForwardContext) -> (sum: Tensor, normed: Tensor) {
    if context.fusesOperators { return Kernels.addNorm(input, delta, weight: weight.tensor, epsilon: epsilon) }
    let sum = delta.map { input + $0 } ?? input
    return (sum, self(sum))
  }

  /// Step by step, as libtorch does on a CPU, where it has no kernel for it: more is kept for the backward pass.
  private func plain(_ input: Tensor) -> Tensor {
    input.ofUnitMeanSquare(epsilon).to(dtype: input.dtype) * weight.tensor
  }
}

extension Tensor {
  /// Divided by the root of its mean square over the last dimension, in fp32.
  func ofUnitMeanSquare(_ epsilon: Double) -> Tensor {
    let wide = to(dtype: .float32)
    return wide * (wide.square().mean([-1], keepdim: true) + epsilon).rsqrt()
  }
}
