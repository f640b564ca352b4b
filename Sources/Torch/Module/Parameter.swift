/// How fresh weights are drawn, when they do not come from a checkpoint.
public enum Initializer: Sendable, Equatable {
  case normal(standardDeviation: Double)
  case constant(Double)
}

/// One tensor of a checkpoint and the part of it that a rank holds.
public struct ParameterPiece: Sendable, Equatable {
  /// Its name in the checkpoint, e.g. `model.layers.0.self_attn.q_proj.weight`.
  public let checkpointName: String
  /// Its shape there, whole.
  public let shape: [Int]
  /// Which slice along a dimension is held here; nil: all of it.
  public let slice: Slice?

  /// One of `count` slices that are equal, but for the last ones where the size is not a multiple.
  public struct Slice: Sendable, Equatable, Hashable {
    public let dimension: Int
    public let index: Int
    public let count: Int

    public init(dimension: Int, index: Int, count: Int) {
      (self.dimension, self.index, self.count) = (dimension, index, count)
    }

    /// The part of a dimension of this size.
    public func range(of size: Int) -> Range<Int> {
      let length = (size + count - 1) / count
      return min(index * length, size)..<min((index + 1) * length, size)
    }
  }

  public init(_ checkpointName: String, shape: [Int], slice: Slice? = nil) {
    (self.checkpointName, self.shape, self.slice) = (checkpointName, shape, slice)
  }

  /// The module it belongs to: its name without `.weight`.
  public var module: String {
    checkpointName.hasSuffix(".weight") ? String(checkpointName.dropLast(".weight".count)) : checkpointName
  }

  /// The part of a dimension that is held here.
  public func range(_ dimension: Int) -> Range<Int> {
    guard let slice, slice.dimension == dimension else { return 0..<shape[dimension] }
    return slice.range(of: shape[dimension])
  }

  /// The shape of the part that is held here.
  public var localShape: [Int] {
    var local = shape
    if let slice { local[slice.dimension] = slice.range(of: shape[slice.dimension]).count }
    return local
  }
}

/// What the ranks that hold a weight have to do with each other.
public struct WeightSharing: Sendable, Equatable {
  /// Part of an expert: held by the ranks of the expert groups.
  public var isExpert = false
  /// Ranks that hold the same part of the weight see different parts of what it does: its gradient is the sum of theirs.
  /// Otherwise each computes the whole gradient.
  public var gradientIsPartial = false

  public init(isExpert: Bool = false, gradientIsPartial: Bool = false) {
    (self.isExpert, self.gradientIsPartial) = (isExpert, gradientIsPartial)
  }
}

/// One weight of a model: the single declaration that drives loading, saving, sharding and weight update.
public final class Parameter {
  /// Where it stands in the model, e.g. `model.layers.0.self_attn.qkv_proj.weight`.
  public let name: String
  /// The checkpoint tensors it is made of, laid one after another along dimension 0.
  public let pieces: [ParameterPiece]
  public let initializer: Initializer
  /// Whether it is the matrix of a linear layer, to whose outputs adapters can add.
  public var takesLowRankTerms = false
  /// What they add in the forward pass that is about to run; nil: nothing.
  public var lowRankTerms: LowRankTerms?
  public let sharing: WeightSharing
  /// Whether training changes it. What it does not change gets no gradient and no optimizer state.
  public let isLearned: Bool
  /// The type that the model computes with it in.
  public let dtype: DType
  /// How it is kept as e4m3; nil: it is kept in `dtype`.
  public let quantization: Float8Scaling?
  /// The shape of this rank's part.
  public let shape: [Int]
  /// The weight as the forward pass uses it. It starts without memory (`Device.meta`); whoever holds the model gives it
  /// memory, and FSDP exchanges it around each use.
  public var tensor: Tensor
  /// The scales of a weight that is kept as e4m3, those of each row: `[rows, groups]`, fp32. They come and go with `tensor`.
  public var scales: Tensor?

  init(
    name: String, pieces: [ParameterPiece], initializer: Initializer, sharing: WeightSharing, isLearned: Bool, dtype: DType,
    quantization: Float8Scaling? = nil
  ) {
    (self.name, self.pieces, self.initializer, self.sharing) = (name, pieces, initializer, sharing)
    (self.isLearned, self.dtype, self.quantization) = (isLearned, dtype, quantization)
    var shape = pieces[0].localShape
    for piece in pieces.dropFirst() {
      precondition(piece.localShape.dropFirst() == shape.dropFirst(), "the pieces of \(name) do not fit together")
      shape[0] += piece.localShape[0]
    }
    self.shape = shape
    tensor = .empty(shape, dtype: quantization == nil ? dtype : .float8e4m3, device: .meta)
    scales = quantization.map { .empty([shape[0], $0.groupCount(shape[1])], device: .meta) }
  }

  /// Where whoever trains the weight adds its gradients up; nil: in `tensor.grad`.
  public var gradientSum: GradientSum?

  /// What `pack()` made; it is used by way of `packed`.
  var packedCopy: PackedMatrix?

  /// All that takes memory, but for the packed copy.
  public var tensors: [Tensor] { [tensor] + (scales.map { [$0] } ?? []) }

  /// The weight where it is kept as e4m3.
  public var float8: Float8Matrix? {
    scales.map { Float8Matrix(values: tensor, scales: $0, groupSize: quantization?.groupSize) }
  }

  public var count: Int { shape.reduce(1, *) }

  /// Each piece with the rows of this parameter that it fills.
  public var rows: [(piece: ParameterPiece, rows: Range<Int>)] {
    var start = 0
    return pieces.map { piece in
      defer { start += piece.localShape[0] }
      return (piece, start..<start + piece.localShape[0])
    }
  }
}
