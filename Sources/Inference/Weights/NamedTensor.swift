import Foundation
import Torch

/// A tensor by its name in the checkpoint.
public struct NamedTensor {
  public let name: String
  public let tensor: Tensor

  public init(_ name: String, _ tensor: Tensor) { (self.name, self.tensor) = (name, tensor) }
}

/// A tensor by its name in the checkpoint, as row-major little-endian bytes.
public struct NamedBytes: Sendable, Codable {
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
