import Checkpoints
import Models
import Parallelism
import Torch

/// What a rank, of a trainer or of an engine, holds of one tensor of the checkpoint.
public struct WeightShard: Sendable, Hashable, Codable {
  /// The name in the checkpoint.
  public var name: String
  /// Of the whole tensor.
  public var shape: [Int]
  /// The elements that are held.
  public var box: TensorBox
  /// The type in which they are held.
  public var dtype: DType
  /// Whether an update may leave it out: it is of a prediction layer, which trainers need not have.
  public var isOptional: Bool

  public init(_ name: String, shape: [Int], box: TensorBox, dtype: DType, isOptional: Bool = false) {
    (self.name, self.shape, self.box, self.dtype, self.isOptional) = (name, shape, box, dtype, isOptional)
  }

  public var byteCount: Int { box.count * dtype.size }
}

/// Some elements of a tensor of the checkpoint, with their values in the shape of the box.
public struct WeightSlice {
  public let shard: WeightShard
  public let tensor: Tensor

  public init(_ shard: WeightShard, _ tensor: Tensor) { (self.shard, self.tensor) = (shard, tensor) }
}

/// What each rank of an engine holds.
struct EngineShards {
  let ranks: [[WeightShard]]

  /// The model's own declarations say it: built once for each rank, without memory. Whole tensors where a rank keeps e4m3,
  /// whose scales are those of the whole.
  init(_ configuration: ModelConfiguration, dtype: DType, _ layout: ParallelLayout) throws {
    ranks = try (0..<layout.worldSize).map { rank in
      let parameters = try configuration.model(parallel: .imagined(layout, rank: rank), dtype: dtype).table.parameters
      return parameters.flatMap { parameter in
        parameter.pieces.map { piece in
          WeightShard(
            piece.checkpointName, shape: piece.shape,
            box: parameter.quantization == nil ? piece.box : TensorBox(whole: piece.shape),
            dtype: parameter.isLearned ? dtype : parameter.dtype, isOptional: configuration.isOfPredictionLayer(parameter.name))
        }
      }
    }
  }
}

extension Tensor {
  /// The part of a box's values that is another box inside of it, as a view.
  package func narrowed(from outer: TensorBox, to inner: TensorBox) -> Tensor {
    var view = self
    for dimension in inner.sizes.indices where inner.sizes[dimension] != outer.sizes[dimension] {
      view = view.narrow(
        dimension, start: inner.offsets[dimension] - outer.offsets[dimension], length: inner.sizes[dimension])
    }
    return view
  }
}
