import Parallelism
import Torch

/// RMS norm of all heads of a token together, whose heads the tensor-parallel ranks divide (MiniMax-M2's of queries and
/// keys).
struct SplitRMSNorm {
  private let weight: Parameter
  private let epsilon: Double
  /// Of all ranks.
  private let size: Int
  /// Ranks that hold the same heads.
  private let copies: Int
  private let group: ProcessGroup

  /// - Parameter sliceCount: parts that the heads are cut into over the ranks.
  init(_ scope: ParameterScope, size: Int, sliceCount: Int, epsilon: Double, group: ProcessGroup) {
    let index = group.rank * sliceCount / group.size
    weight = scope.parameter(
      "weight", shape: [size],
      slice: sliceCount > 1 ? ParameterPiece.Slice(dimension: 0, index: index, count: sliceCount) : nil,
      initializer: .constant(1), sharing: WeightSharing(gradientIsPartial: sliceCount < group.size))
    (self.epsilon, self.size, self.group) = (epsilon, size, group)
    copies = group.size / sliceCount
  }

  /// `[T, this rank's part of size]`
  func callAsFunction(_ input: Tensor) -> Tensor {
    let wide = input.to(dtype: .float32)
    let sum = wide.square().sum([-1], keepdim: true).summedForAll(group)
    let inverse = (sum / Double(size * copies) + epsilon).rsqrt()
    return (wide * inverse).to(dtype: input.dtype) * weight.tensor
  }
}
