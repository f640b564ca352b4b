import Torch

/// A tensor as a value: element type, shape, and a copy of its bytes (row-major, little-endian).
///
/// For the small tensors among plain values, such as the state of a random generator in `common.pt`.
public struct HostTensor: Hashable, Sendable {
  public let dtype: DType
  public let shape: [Int]
  public let bytes: [UInt8]

  /// - Precondition: as many bytes as the shape needs.
  public init(dtype: DType, shape: [Int], bytes: [UInt8]) {
    precondition(shape.reduce(dtype.size, *) == bytes.count, "\(bytes.count) bytes for \(dtype.name) \(shape)")
    (self.dtype, self.shape, self.bytes) = (dtype, shape, bytes)
  }

  /// A copy of a tensor of any device and layout.
  public init(_ tensor: Tensor) {
    self.init(dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Array($0) })
  }

  /// A new tensor on the CPU.
  public func tensor() -> Tensor {
    let tensor = Tensor.empty(shape, dtype: dtype)
    bytes.withUnsafeBytes { source in tensor.withMutableBytes { $0.copyMemory(from: source) } }
    return tensor
  }
}
