import Torch

/// What brings each token's vector to a common size.
public protocol Norm {
  /// Over the last dimension.
  func callAsFunction(_ input: Tensor) -> Tensor
}

public enum NormKind: Sendable, Equatable {
  case rms
  /// The RMS norm of Gemma: multiplies by 1 + weight, in fp32.
  case rmsPlusOne
  /// Layer norm with bias.
  case layer
}

extension ModelConfiguration {
  /// The kind of norm that the model has.
  /// - Parameter size: of what it norms.
  func makeNorm(_ scope: ParameterScope, size: Int, sharing: WeightSharing) -> any Norm {
    switch norm {
    case .rms: RMSNorm(scope, size: size, epsilon: normEpsilon, sharing: sharing)
    case .rmsPlusOne: RMSNormPlusOne(scope, size: size, epsilon: normEpsilon, sharing: sharing)
    case .layer: LayerNorm(scope, size: size, epsilon: normEpsilon, sharing: sharing)
    }
  }
}

/// The RMS norm of Gemma (Gemma Team, 2024): weights are stored as what they differ from 1 by, and applied in fp32.
public struct RMSNormPlusOne: Norm {
  public let weight: Parameter
  let epsilon: Double

  public init(_ scope: ParameterScope, size: Int, epsilon: Double, sharing: WeightSharing) {
    weight = scope.parameter("weight", shape: [size], initializer: .constant(0), sharing: sharing)
    self.epsilon = epsilon
  }

  public func callAsFunction(_ input: Tensor) -> Tensor {
    (input.ofUnitMeanSquare(epsilon) * (weight.tensor.to(dtype: .float32) + 1)).to(dtype: input.dtype)
  }
}

/// Layer norm (Ba et al., 2016).
public struct LayerNorm: Norm {
  public let weight: Parameter
  public let bias: Parameter
  let epsilon: Double

  public init(_ scope: ParameterScope, size: Int, epsilon: Double, sharing: WeightSharing) {
    weight = scope.parameter("weight", shape: [size], initializer: .constant(1), sharing: sharing)
    bias = scope.parameter("bias", shape: [size], initializer: .constant(0), sharing: sharing)
    self.epsilon = epsilon
  }

  public func callAsFunction(_ input: Tensor) -> Tensor {
    input.layerNorm(weight.shape, weight: weight.tensor, bias: bias.tensor, eps: epsilon)
  }
}
