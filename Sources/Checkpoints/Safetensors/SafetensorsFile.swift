import Foundation

/// An open safetensors file: the list of its tensors, and their bytes as views of the mapped file.
public final class SafetensorsFile: Sendable {
  public let url: URL
  public let metadata: [String: String]
  /// In the order of their bytes.
  public let tensors: [TensorDescription]
  private let indices: [String: Int]
  private let mapping: MappedFile

  /// Maps the file and checks its header; no tensor is read. Throws `CheckpointError`.
  public init(_ url: URL) throws {
    let mapping = try MappedFile(url)
    let header = try SafetensorsHeader(parsing: mapping.bytes, of: url)
    self.url = url
    self.mapping = mapping
    metadata = header.metadata
    tensors = header.tensors
    indices = Dictionary(uniqueKeysWithValues: header.tensors.enumerated().map { ($1.name, $0) })
  }

  /// The tensor of this name, nil where there is none.
  public subscript(name: String) -> TensorDescription? { indices[name].map { tensors[$0] } }

  /// The tensor of this name. Throws where there is none.
  public func description(of name: String) throws -> TensorDescription {
    guard let tensor = self[name] else { throw CheckpointError(url, "there is no tensor '\(name)' in this file") }
    return tensor
  }

  /// The tensor's bytes in the mapped file, valid as long as this object lives.
  public func bytes(of tensor: TensorDescription) -> UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(rebasing: mapping.bytes[tensor.byteRange])
  }

  public func bytes(of name: String) throws -> UnsafeRawBufferPointer { bytes(of: try description(of: name)) }

  /// Reads bytes of a tensor, counted from its first, into other memory: the fastest way to have them there.
  public func read(_ tensor: TensorDescription, _ bytes: Range<Int>, into memory: UnsafeMutableRawPointer) throws {
    precondition(bytes.upperBound <= tensor.byteRange.count, "\(tensor.name) has \(tensor.byteRange.count) bytes")
    let start = tensor.byteRange.lowerBound
    try mapping.read(start + bytes.lowerBound..<start + bytes.upperBound, into: memory)
  }

  /// Throws, with what is there and what was expected, unless the tensor has this shape and (where given) this dtype.
  public func check(_ name: String, shape: [Int], dtype: SafetensorsDType? = nil) throws {
    let found = try description(of: name)
    guard found.shape == shape, dtype == nil || found.dtype == dtype else {
      let (expectedType, foundType) = dtype.map { (" \($0.rawValue)", " \(found.dtype.rawValue)") } ?? ("", "")
      throw CheckpointError(
        url, "tensor '\(name)' is \(found.shape)\(foundType), expected \(shape)\(expectedType)")
    }
  }
}
