import Parallelism
import Torch

/// y = x Wᵀ + b with the outputs split over the tensor-parallel ranks; one or several checkpoint matrices side by side
/// (q|k|v, gate|up), each split by itself.
public struct ColumnParallelLinear {
  /// One matrix of the checkpoint.
  public struct Part {
    let name: String
    let outputSize: Int
    /// Equal slices it is cut into over the ranks; fewer than ranks when heads are shared by several.
    let sliceCount: Int

    public init(_ name: String, outputSize: Int, sliceCount: Int) {
      (self.name, self.outputSize, self.sliceCount) = (name, outputSize, sliceCount)
    }
  }

  public let weight: Parameter
  public let bias: Parameter?
  private let parallel: ParallelContext

  /// - Parameters:
  ///   - scope: where the parts stand in the checkpoint, e.g. `….self_attn`.
  ///   - name: what the fused layer is called here, e.g. `qkv_proj`.
  public init(
    _ scope: ParameterScope, _ name: String, parts: [Part], inputSize: Int, bias hasBias: Bool, initializer: Initializer,
    parallel: ParallelContext
  ) {
    let group = parallel.tensor
    func pieces(_ leaf: String, _ shape: (Part) -> [Int]) -> [ParameterPiece] {
      parts.map { part in
        let index = group.rank * part.sliceCount / group.size
        let slice = part.sliceCount > 1 ? ParameterPiece.Slice(dimension: 0, index: index, count: part.sliceCount) : nil
        return ParameterPiece(scope(part.name).name(leaf), shape: shape(part), slice: slice)
      }
    }
    // A slice that several ranks hold is used by each for other heads.
    let sharing = WeightSharing(gradientIsPartial: parts.contains { $0.sliceCount < group.size })
    weight = scope(name).parameter(
      "weight", pieces: pieces("weight") { [$0.outputSize, inputSize] }, initializer: initializer, sharing: sharing,
      isLinear: true)
    bias = hasBias
      ? scope(name).parameter(
        "bias", pieces: pieces("bias") { [$0.outputSize] }, initializer: .constant(0), sharing: sharing) : nil
    self.parallel = parallel
    weight.takesLowRankTerms = true
  }

  /// `[T, inputSize]` (sequence parallel: `[T / ranks, inputSize]`) → `[T, this rank's outputs]`
  public func callAsFunction(_ input: Tensor) -> Tensor {
    parallel.linear(parallel.enteringTensorParallel(input), weight, bias: bias)
  }
}

/// y = x Wᵀ + b, whole on every tensor-parallel rank, for this rank's part of the sequence where that is split.
public struct ReplicatedLinear {
  public let weight: Parameter
  public let bias: Parameter?
  private let parallel: ParallelContext

  public init(
    _ scope: ParameterScope, inputSize: Int, outputSize: Int, bias hasBias: Bool, initializer: Initializer,
    parallel: ParallelContext
  ) {
    self.parallel = parallel
    weight = scope.parameter(
      "weight", shape: [outputSize, inputSize], initializer: initializer, sharing: parallel.sequenceSharing, isLinear: true)
    bias = hasBias
      ? scope.parameter("bias", shape: [outputSize], initializer: .constant(0), sharing: parallel.sequenceSharing) : nil
    weight.takesLowRankTerms = true
  }

  public func callAsFunction(_ input: Tensor) -> Tensor { parallel.linear(input, weight, bias: bias) }
}

extension ParallelContext {
  /// This rank's slice of a dimension that the tensor-parallel ranks split.
  func tensorSlice(dimension: Int) -> ParameterPiece.Slice? {
    tensor.size > 1 ? ParameterPiece.Slice(dimension: dimension, index: tensor.rank, count: tensor.size) : nil
  }

  /// Of whole weights that are used on this rank's part of the sequence.
  var sequenceSharing: WeightSharing { WeightSharing(gradientIsPartial: sequenceParallel) }
}

/// y = x Wᵀ + b with the inputs split over the tensor-parallel ranks, whose partial results are summed.
public struct RowParallelLinear {
  public let weight: Parameter
  public let bias: Parameter?
  private let parallel: ParallelContext

  public init(
    _ scope: ParameterScope, inputSize: Int, outputSize: Int, bias hasBias: Bool, initializer: Initializer,
    parallel: ParallelContext
  ) {
    weight = scope.parameter(
      "weight", shape: [outputSize, inputSize], slice: parallel.tensorSlice(dimension: 1), initializer: initializer,
      isLinear: true)
    bias = hasBias
      ? scope.parameter("bias", shape: [outputSize], initializer: .constant(0), sharing: parallel.sequenceSharing) : nil
    self.parallel = parallel
    weight.takesLowRankTerms = true
  }

  /// `[T, this rank's inputs]` → `[T, outputSize]` (sequence parallel: `[T / ranks, outputSize]`)
  public func callAsFunction(_ input: Tensor) -> Tensor {
    guard parallel.tensor.size > 1 else { return parallel.linear(input, weight, bias: bias) }
    let sum = parallel.leavingTensorParallel(parallel.linear(input, weight))
    return bias.map { sum + $0.tensor } ?? sum
  }
}
