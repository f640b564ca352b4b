/// What a tensor is, before there are any bytes.
public struct TensorSpecification: Sendable, Equatable, CustomStringConvertible {
  public var name: String
  public var dtype: SafetensorsDType
  public var shape: [Int]

  public init(name: String, dtype: SafetensorsDType, shape: [Int]) {
    (self.name, self.dtype, self.shape) = (name, dtype, shape)
  }

  public var description: String { "\(name) \(dtype.rawValue) \(shape)" }
}

/// A tensor in a safetensors file.
public struct TensorDescription: Sendable, Equatable {
  public let name: String
  public let dtype: SafetensorsDType
  public let shape: [Int]
  /// Where its bytes are, counted from the beginning of the file. Row-major, little-endian.
  public let byteRange: Range<Int>

  public var specification: TensorSpecification { TensorSpecification(name: name, dtype: dtype, shape: shape) }
}

/// A tensor to be written: what it is, and how to get its bytes when their turn comes.
public struct TensorSource {
  public let specification: TensorSpecification
  /// Calls its argument once with the tensor's bytes, row-major and little-endian.
  public let withBytes: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void

  public init(
    _ specification: TensorSpecification, withBytes: @escaping ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
  ) {
    self.specification = specification
    self.withBytes = withBytes
  }

  public init(_ specification: TensorSpecification, bytes: [UInt8]) {
    self.init(specification) { try bytes.withUnsafeBytes($0) }
  }
}
