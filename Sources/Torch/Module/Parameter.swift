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
  /// Which of equal slices along a dimension is held here; nil: all of it.
  public let slice: Slice?

  public struct Slice: Sendable, Equatable {
    public let dimension: Int
    public let index: Int
    public let count: Int

    public init(dimension: Int, index: Int, count: Int) {
      (self.dimension, self.index, self.count) = (dimension, index, count)
    }
  }

  public init(_ checkpointName: String, shape: [Int], slice: Slice? = nil) {
    (self.checkpointName, self.shape, self.slice) = (checkpointName, shape, slice)
  }

  /// The shape of the part that is held here.
  public var localShape: [Int] {
    var local = shape
    if let slice { local[slice.dimension] /= slice.count }
    return local
  }
}

/// One weight of a model: the single declaration that drives loading, saving, sharding and weight update.
public final class Parameter {
  /// Where it stands in the model, e.g. `model.layers.0.self_attn.qkv_proj.weight`.
  public let name: String
  /// The checkpoint tensors it is made of, laid one after another along dimension 0.
  public let pieces: [ParameterPiece]
  public let initializer: Initializer
  /// The shape of this rank's part.
  public let shape: [Int]
  /// The weight as the forward pass uses it. It starts without memory (`Device.meta`); whoever holds the model gives it
  /// memory, and FSDP exchanges it around each use.
  public var tensor: Tensor

  init(name: String, pieces: [ParameterPiece], initializer: Initializer, dtype: DType) {
    (self.name, self.pieces, self.initializer) = (name, pieces, initializer)
    var shape = pieces[0].localShape
    for piece in pieces.dropFirst() {
      precondition(piece.localShape.dropFirst() == shape.dropFirst(), "the pieces of \(name) do not fit together")
      shape[0] += piece.localShape[0]
    }
    self.shape = shape
    tensor = .empty(shape, dtype: dtype, device: .meta)
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
