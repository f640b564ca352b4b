import Foundation
import Torch

/// What one rank gives to a distributed checkpoint.
public enum SaveItem {
  case shard(TensorShard)
  case object(SavedObject)

  /// A part of a tensor: `tensor` is its box that begins at `offsets`.
  public static func shard(
    _ name: String, globalShape: [Int], offsets: [Int], _ tensor: Tensor, path: [StateDictKey]? = nil
  ) -> SaveItem {
    .shard(TensorShard(name: name, globalShape: globalShape, offsets: offsets, tensor: tensor, path: path))
  }

  /// A whole tensor.
  public static func tensor(_ name: String, _ tensor: Tensor, path: [StateDictKey]? = nil) -> SaveItem {
    let shape = tensor.shape
    return .shard(name, globalShape: shape, offsets: shape.map { _ in 0 }, tensor, path: path)
  }

  /// A value of plain types and small tensors, as a Python object that `torch.load` gives back.
  public static func value(_ name: String, _ value: PickleValue, path: [StateDictKey]? = nil) throws -> SaveItem {
    .object(try SavedObject(name: name, value: value, path: path))
  }

  public var name: String {
    switch self {
    case .shard(let shard): shard.name
    case .object(let object): object.name
    }
  }
}

/// A part of a tensor that one rank holds.
public struct TensorShard {
  /// The tensor's name in the checkpoint.
  public let name: String
  /// The shape of the whole tensor.
  public let globalShape: [Int]
  /// Where the part begins, in each dimension.
  public let offsets: [Int]
  /// The part, on any device and in any layout.
  public let tensor: Tensor
  /// Where the tensor lies in a nested state dictionary; only readers that rebuild one use it.
  public let path: [StateDictKey]?

  public init(name: String, globalShape: [Int], offsets: [Int], tensor: Tensor, path: [StateDictKey]? = nil) {
    (self.name, self.globalShape, self.offsets, self.tensor, self.path) = (name, globalShape, offsets, tensor, path)
  }

  /// The part's box. Throws where it does not lie in the whole tensor.
  func box() throws -> TensorBox {
    let sizes = tensor.shape
    guard offsets.count == sizes.count, case let box = TensorBox(offsets: offsets, sizes: sizes), box.fits(globalShape)
    else {
      throw CheckpointError(
        "tensor '\(name)' of shape \(globalShape) cannot have a shard of shape \(sizes) at \(offsets); "
          + "each offset and size must lie in the whole")
    }
    return box
  }
}

/// A Python object, as the bytes that `torch.save` would make of it.
public struct SavedObject: Sendable {
  public let name: String
  public let bytes: [UInt8]
  public let path: [StateDictKey]?

  public init(name: String, bytes: [UInt8], path: [StateDictKey]? = nil) {
    (self.name, self.bytes, self.path) = (name, bytes, path)
  }

  public init(name: String, value: PickleValue, path: [StateDictKey]? = nil) throws {
    let output = MemoryOutput()
    do {
      try TorchArchiveWriter.write(value, to: output)
    } catch let error as PickleError {
      throw CheckpointError("object '\(name)' cannot be saved: \(error.problem)")
    }
    self.init(name: name, bytes: output.bytes, path: path)
  }
}
