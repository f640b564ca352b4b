import Torch

// The collectives of tensor parallelism with their gradients (Shoeybi et al., "Megatron-LM", 2019, figure 3).
extension Tensor {
  /// Into a region where each rank computes a part: identity; the gradient is summed over the ranks.
  public func enteringTensorParallel(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("EnterTensorParallel", input: self, forward: { detached().clone() }) { gradient in
      let sum = gradient.contiguous().clone()
      group.allReduce(sum)
      return sum
    }
  }

  /// Out of it: the ranks' partial results are summed; the gradient passes unchanged.
  public func summedOverTensorParallel(_ group: ProcessGroup) -> Tensor {
    guard group.size > 1 else { return self }
    return Tensor.function("SumOverTensorParallel", input: self, forward: {
      let sum = detached().contiguous().clone()
      group.allReduce(sum)
      return sum
    }) { $0 }
  }
}
