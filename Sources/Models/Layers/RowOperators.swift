import Parallelism
import Torch

// Operators that compute each token by itself: libtorch's, or in deterministic mode those that give a token the same bits
// whatever tokens stand beside it.
extension ParallelContext {
  /// x Wᵀ + b, in whichever form the weight is kept, and what adapters add to it.
  func linear(_ input: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    let output =
      if let float8 = weight.float8 {
        input.float8Linear(float8, bias: bias?.tensor)
      } else if gradientsEnabled, !isDeterministic, input.isWorthFunction(with: weight) {
        input.linear(weight.tensor, bias: bias?.tensor, addingGradientTo: weight.gradientSum)
      } else {
        product(input, weight, bias: bias)
      }
    return weight.lowRankTerms?.added(to: output, of: input) ?? output
  }

  /// x Wᵀ + b, with the packed copy of a weight that has one.
  func product(_ input: Tensor, _ weight: Parameter, bias: Parameter? = nil) -> Tensor {
    if let packed = weight.packed, !gradientsEnabled, !isDeterministic, input.dtype == weight.dtype {
      return input.linear(packed, bias: bias?.tensor)
    }
    return linear(input, weight.tensor, bias: bias?.tensor)
  }

  /// x Wᵀ + b
  func linear(_ input: Tensor, _ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    if isDeterministic { return input.rowInvariantLinear(weight, bias: bias) }
    if input.isForFewRows(weight) { return Kernels.fewRowsLinear(.plain(input), weight, bias: bias) }
    return gradientsEnabled ? input.linear(weight, bias: bias) : input.linearWithoutGradients(weight, bias: bias)
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

extension Tensor {
  /// x Wᵀ + b, of which x need not be kept where it can be made again, and whose gradient by the weight is added up where it is
  /// computed and does not go through autograd, if there is a sum.
  fileprivate func linear(_ weight: Tensor, bias: Tensor?, addingGradientTo sum: GradientSum?) -> Tensor {
    let (x, whenThere, w) = (remade, awaited, weight.detached())
    let isWanted = (input: requiresGrad, weight: weight.requiresGrad)
    return Tensor.function("LinearAddingGradient", inputs: [self, weight] + (bias.map { [$0] } ?? [])) {
      [detached().linearWithoutGradients(w, bias: bias?.detached())]
    } backward: { gradients in
      guard let gradient = gradients[0] else { return [nil, nil] + (bias == nil ? [] : [nil]) }
      var byWeight: Tensor?
      if let sum {
        whenThere { sum.add(gradient.t(), times: $0) }
      } else if isWanted.weight {
        byWeight = gradient.t().product(x())
      }
      return [isWanted.input ? gradient.product(w) : nil, byWeight] + (bias == nil ? [] : [gradient.sum([0])])
    }[0]
  }

  /// Whether that is better than autograd's: there is a sum, or something to make again, or products are fast on a GPU.
  fileprivate func isWorthFunction(with weight: Parameter) -> Bool {
    device.kind == .cuda || device.kind != .cpu && (weight.gradientSum != nil || isRemade)
  }

  /// Whether these are the rows of a small batch that decodes, for which there is a kernel.
  fileprivate func isForFewRows(_ weight: Tensor) -> Bool {
    guard !gradientsEnabled, device.kind == .cuda, Kernels.run(on: device, dtype), weight.dtype == dtype else { return false }
    return Kernels.multiplyFewRows(size(0), inputs: size(1)) && isContiguous && weight.isContiguous
  }
}
