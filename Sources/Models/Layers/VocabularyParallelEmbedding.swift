import Parallelism
import Torch

/// Token embedding with the vocabulary split over the tensor-parallel ranks.
public struct VocabularyParallelEmbedding {
  public let weight: Parameter
  let group: ProcessGroup

  public init(
    _ scope: ParameterScope, vocabularySize: Int, hiddenSize: Int, initializer: Initializer, group: ProcessGroup
  ) {
    let slice = group.size > 1 ? ParameterPiece.Slice(dimension: 0, index: group.rank, count: group.size) : nil
    weight = scope.parameter("weight", shape: [vocabularySize, hiddenSize], slice: slice, initializer: initializer)
    self.group = group
  }

  /// `[T]`, int64 → `[T, hiddenSize]`
  public func callAsFunction(_ tokens: Tensor) -> Tensor {
    guard group.size > 1 else { return Tensor.embedding(weight.tensor, indices: tokens) }
    let rows = weight.shape[0]
    let local = tokens - group.rank * rows
    let elsewhere = local.lt(0).logicalOr(local.ge(rows))
    let found = Tensor.embedding(weight.tensor, indices: local.clamped(0, max: rows - 1))
    return found.maskedFill(elsewhere.unsqueeze(1), value: 0).summedOverTensorParallel(group)
  }
}
