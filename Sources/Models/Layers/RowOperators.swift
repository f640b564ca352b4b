import Parallelism
import Torch

// Operators that compute each token by itself: libtorch's, or in deterministic mode those that give a token the same bits
// whatever tokens stand beside it.
extension ParallelContext {
  /// x Wᵀ + b, in whichever form the weight is kept.
  func linear(_ input: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    if let float8 = weight.float8 { return input.float8Linear(float8, bias: bias?.tensor) }
    return linear(input, weight.tensor, bias: bias?.tensor)
  }

  /// x Wᵀ + b
  func linear(_ input: Tensor, _ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    isDeterministic ? input.rowInvariantLinear(weight, bias: bias) : input.linear(weight, bias: bias)
  }

  func silu(_ input: Tensor) -> Tensor { isDeterministic ? input.rowInvariantSilu() : input.silu() }

  func sigmoid(_ input: Tensor) -> Tensor { isDeterministic ? input.rowInvariantSigmoid() : input.sigmoid() }

  /// Σ weight · output over each token's experts, in the order in which the router chose them.
  /// - Parameters:
  ///   - outputs: `[T, expertsPerToken, width]`
  ///   - weights: `[T, expertsPerToken]`, fp32.
  func weightedSum(_ outputs: Tensor, _ weights: Tensor) -> Tensor {
    guard isDeterministic else { return weights.to(dtype: outputs.dtype).unsqueeze(1).matmul(outputs).squeeze(1) }
    return (outputs.to(dtype: weights.dtype) * weights.unsqueeze(2)).transpose(0, dim1: 1).sumInOrder()
      .to(dtype: outputs.dtype)
  }
}
