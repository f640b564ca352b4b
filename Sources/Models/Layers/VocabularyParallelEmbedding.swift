import Parallelism
import Torch

/// Token embedding with the vocabulary split over the tensor-parallel ranks.
public struct VocabularyParallelEmbedding {
  public let weight: Parameter
  private let parallel: ParallelContext

  public init(
    _ scope: ParameterScope, vocabularySize: Int, hiddenSize: Int, initializer: Initializer,
    parallel: ParallelContext
  ) {
    weight = scope.parameter(
      "weight", shape: [vocabularySize, hiddenSize], slice: parallel.tensorSlice(dimension: 0), initializer: initializer)
    self.parallel = parallel
  }

  /// Over a weight that another module declared.
  init(_ weight: Parameter, parallel: ParallelContext) { (self.weight, self.parallel) = (weight, parallel) }

  /// `[T]`, int64 → `[T, hiddenSize]` (sequence parallel: `[T / ranks, hiddenSize]`)
  public func callAsFunction(_ tokens: Tensor) -> Tensor {
    guard let slice = weight.pieces[0].slice else { return whole(tokens) }
    let rows = slice.range(of: weight.pieces[0].shape[0])
    let local = tokens - rows.lowerBound
    let elsewhere = local.lt(0).logicalOr(local.ge(rows.count))
    let found = Tensor.embedding(weight.tensor, indices: local.clamped(0, max: rows.count - 1))
    return parallel.leavingTensorParallel(found.maskedFill(elsewhere.unsqueeze(1), value: 0))
  }

  private func whole(_ tokens: Tensor) -> Tensor {
    guard gradientsEnabled, let sum = weight.gradientSum, weight.shape[1] % 8 == 0,
      Kernels.run(on: weight.tensor.device, weight.tensor.dtype)
    else { return Tensor.embedding(weight.tensor, indices: tokens) }
    // Only the rows of tokens that there are get a gradient.
    let rows = weight.tensor.detached()
    return Tensor.function("Embedding", inputs: [weight.tensor]) {
      [Tensor.embedding(rows, indices: tokens)]
    } backward: { gradients in
      if let gradient = gradients[0] { sum.add(rows: gradient.contiguous(), at: tokens) }
      return [nil]
    }[0]
  }
}
