import Foundation

/// Writes one safetensors file, tensor by tensor, in any order; only one tensor need be in memory at a time.
///
/// The bytes are those that the Python package `safetensors` writes for the same tensors. They go to `<name>.partial`,
/// which gets its name in `finish()`: a file that has its name is whole.
public final class SafetensorsWriter {
  public let url: URL
  /// The order in which the bytes lie in the file, and so the best order to write in.
  public let tensors: [TensorDescription]
  private let file: OutputFile
  private let announced: [String: TensorDescription]
  private var missing: Set<String>
  public private(set) var isFinished = false

  /// - Parameter metadata: `format: pt` tells `transformers` that these are weights in PyTorch's layout.
  public init(to url: URL, tensors: [TensorSpecification], metadata: [String: String] = ["format": "pt"]) throws {
    let layout = try SafetensorsHeader.layOut(tensors, metadata: metadata, of: url)
    self.url = url
    self.tensors = layout.tensors
    announced = Dictionary(uniqueKeysWithValues: layout.tensors.map { ($0.name, $0) })
    missing = Set(announced.keys)
    let byteCount = layout.tensors.last?.byteRange.upperBound ?? layout.header.count
    file = try OutputFile(creating: url.appendingPathExtension("partial"), byteCount: byteCount)
    try layout.header.withUnsafeBytes { try file.write($0, at: 0) }
  }

  deinit {
    if !isFinished { unlink(file.url.path) }
  }

  /// Writes a tensor's bytes, row-major and little-endian, in their place.
  public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
    let tensor = try description(of: name)
    guard missing.contains(name) else { throw CheckpointError(url, "tensor '\(name)' was written already") }
    guard bytes.count == tensor.byteRange.count else {
      throw CheckpointError(
        url, "tensor '\(name)' with shape \(tensor.shape) and dtype \(tensor.dtype.rawValue) has "
          + "\(tensor.byteRange.count) bytes, got \(bytes.count)")
    }
    try file.write(bytes, at: tensor.byteRange.lowerBound)
    missing.remove(name)
  }

  func description(of name: String) throws -> TensorDescription {
    guard let tensor = announced[name] else { throw CheckpointError(url, "tensor '\(name)' was not announced") }
    return tensor
  }

  public var isComplete: Bool { missing.isEmpty }

  /// Brings the file to the disk and gives it its name. Throws while a tensor is missing.
  public func finish() throws {
    if let name = missing.min() {
      throw CheckpointError(url, "\(missing.count) tensors were announced but not written, '\(name)' among them")
    }
    try file.syncAndClose()
    try publish(file.url, as: url)
    isFinished = true
  }

  /// Writes a whole file.
  public static func write(
    to url: URL, tensors: [TensorSource], metadata: [String: String] = ["format": "pt"]
  ) throws {
    let writer = try SafetensorsWriter(to: url, tensors: tensors.map(\.specification), metadata: metadata)
    let sources = Dictionary(uniqueKeysWithValues: tensors.map { ($0.specification.name, $0) })
    for tensor in writer.tensors {
      try sources[tensor.name]!.withBytes { try writer.write(tensor.name, $0) }
    }
    try writer.finish()
  }
}
