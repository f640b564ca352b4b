import Foundation
import Torch

// Between checkpoint files and tensors.

extension SafetensorsDType {
  /// The tensor type of the same layout; nil where there is none (such tensors can be read as bytes only).
  public var tensorType: DType? {
    switch self {
    case .bool: .bool
    case .uint8: .uint8
    case .int8: .int8
    case .int16: .int16
    case .int32: .int32
    case .int64: .int64
    case .float8E5M2: .float8e5m2
    case .float8E4M3: .float8e4m3
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .float32: .float32
    case .float64: .float64
    case .float4, .float6E2M3, .float6E3M2, .float8E8M0, .float8E4M3FNUZ, .float8E5M2FNUZ, .uint16, .uint32, .uint64,
      .complex64:
      nil
    }
  }

  public init(_ type: DType) {
    switch type {
    case .bool: self = .bool
    case .uint8: self = .uint8
    case .int8: self = .int8
    case .int16: self = .int16
    case .int32: self = .int32
    case .int64: self = .int64
    case .float8e5m2: self = .float8E5M2
    case .float8e4m3: self = .float8E4M3
    case .float16: self = .float16
    case .bfloat16: self = .bfloat16
    case .float32: self = .float32
    case .float64: self = .float64
    }
  }
}

// MARK: - Reading

extension SafetensorsFile {
  /// The tensor as a view of the mapped file, which lives as long as the tensor and all its views do. Nothing is read
  /// before it is used; changing it in place changes this process's copy and never the file.
  public func tensor(_ name: String) throws -> Tensor {
    let description = try description(of: name)
    guard let type = description.dtype.tensorType else {
      throw CheckpointError(
        url, "tensor '\(name)' has dtype \(description.dtype.rawValue), which has no tensors here; convert the checkpoint")
    }
    let bytes = bytes(of: description)
    let address = UInt(bitPattern: bytes.baseAddress)
    guard address % UInt(type.size) == 0 else {
      // The format allows it; processors and kernels may not.
      let tensor = Tensor.empty(description.shape, dtype: type)
      tensor.withMutableBytes { $0.copyMemory(from: bytes) }
      return tensor
    }
    return Tensor(
      borrowing: UnsafeMutableRawPointer(mutating: bytes.baseAddress!), shape: description.shape, dtype: type,
      release: { [self] in withExtendedLifetime(self) {} })
  }
}

extension WeightFiles {
  /// The tensor as a view of its mapped file; see `SafetensorsFile.tensor`.
  public func tensor(_ name: String) throws -> Tensor { try file(holding: name).tensor(name) }
}

// MARK: - Writing

extension TensorSpecification {
  public init(_ name: String, like tensor: Tensor) {
    self.init(name: name, dtype: SafetensorsDType(tensor.dtype), shape: tensor.shape)
  }
}

extension TensorSource {
  /// A tensor of any device and layout.
  public init(_ name: String, _ tensor: Tensor) { self.init(TensorSpecification(name, like: tensor)) { tensor } }

  /// A tensor that is made when its turn comes (gathered from its shards, say) and let go when it is written.
  public init(_ specification: TensorSpecification, tensor: @escaping () throws -> Tensor) {
    self.init(specification, withBytes: { write in try specification.withBytes(of: tensor(), write) })
  }
}

extension SafetensorsWriter {
  /// Writes a tensor of any device and layout, converted to the announced dtype.
  public func write(_ name: String, _ tensor: Tensor) throws {
    try description(of: name).specification.withBytes(of: tensor) { try write(name, $0) }
  }
}

extension HuggingFaceWriter {
  /// Writes a tensor of any device and layout, converted to the announced dtype.
  public func write(_ name: String, _ tensor: Tensor) throws {
    try specification(of: name).withBytes(of: tensor) { try write(name, $0) }
  }
}

extension TensorSpecification {
  /// The tensor's bytes as the file is to have them. Throws unless it has the announced shape.
  fileprivate func withBytes(of tensor: Tensor, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
    guard tensor.shape == shape else {
      throw CheckpointError("tensor '\(name)' was announced with shape \(shape) but has \(tensor.shape)")
    }
    guard let type = dtype.tensorType else {
      throw CheckpointError("tensor '\(name)' was announced with dtype \(dtype.rawValue), which has no tensors; write bytes")
    }
    try tensor.withBytes(as: type, body)
  }
}
