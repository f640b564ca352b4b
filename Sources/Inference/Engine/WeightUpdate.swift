import Foundation
import Models
import Torch

/// A tensor by its name in the checkpoint.
public struct NamedTensor {
  public let name: String
  public let tensor: Tensor

  public init(_ name: String, _ tensor: Tensor) { (self.name, self.tensor) = (name, tensor) }
}

/// A tensor by its name in the checkpoint, as row-major little-endian bytes.
public struct NamedBytes: Sendable {
  public let name: String
  public let dtype: DType
  public let shape: [Int]
  public let bytes: Data

  public init(_ name: String, dtype: DType, shape: [Int], bytes: Data) {
    (self.name, self.dtype, self.shape, self.bytes) = (name, dtype, shape, bytes)
  }

  func named() throws -> NamedTensor {
    let expected = shape.reduce(1, *) * dtype.size
    guard bytes.count == expected else {
      throw EngineError(
        "The tensor '\(name)' of shape \(shape) and dtype \(dtype.name) must have \(expected) bytes, got \(bytes.count).")
    }
    let tensor = Tensor.empty(shape, dtype: dtype)
    tensor.withMutableBytes { _ = bytes.copyBytes(to: $0) }
    return NamedTensor(name, tensor)
  }
}

/// New weights on their way into a model, bucket by bucket.
final class WeightUpdate {
  private let places: [String: (parameter: Parameter, piece: ParameterPiece, rows: Range<Int>)]
  private let ignored: (String) -> Bool
  private var failure: (any Error)?

  init(_ model: CausalLM) {
    places = Dictionary(
      uniqueKeysWithValues: model.table.parameters.flatMap { parameter in
        parameter.rows.map { ($0.piece.checkpointName, (parameter, $0.piece, $0.rows)) }
      })
    let tied = model.configuration.tiesEmbeddings
    ignored = { tied && $0 == "lm_head.weight" }
  }

  /// Copies a bucket into the model, after all its names and shapes were checked.
  func apply(_ bucket: () throws -> [NamedTensor]) throws {
    do {
      let bucket = try bucket()
      try check(bucket)
      try catchingTorchErrors { withoutGradients { copy(bucket) } }
    } catch {
      failure = failure ?? error
      throw error
    }
  }

  private func check(_ bucket: [NamedTensor]) throws {
    for new in bucket where !ignored(new.name) {
      guard let place = places[new.name] else {
        throw EngineError("The weight update holds the tensor '\(new.name)', which the model does not have.")
      }
      guard new.tensor.shape == place.piece.shape else {
        throw EngineError(
          "The weight update holds the tensor '\(new.name)' with shape \(new.tensor.shape), but the model's is \(place.piece.shape).")
      }
    }
  }

  private func copy(_ bucket: [NamedTensor]) {
    for new in bucket {
      guard let place = places[new.name] else { continue }
      var source = new.tensor
      if let slice = place.piece.slice {
        let length = place.piece.shape[slice.dimension] / slice.count
        source = source.narrow(slice.dimension, start: slice.index * length, length: length)
      }
      _ = place.parameter.tensor[place.rows].copy_(source)
    }
  }

  /// - Throws: when a bucket failed, since the model then holds old and new weights side by side.
  func finish() throws {
    guard let failure else { return }
    throw EngineError(
      "The weight update is incomplete (\(failure)); the engine waits for a whole one: begin again and send every tensor.")
  }
}
