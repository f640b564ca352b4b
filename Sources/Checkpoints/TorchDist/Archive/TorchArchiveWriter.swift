import Torch

/// Writes `torch.save` archives, byte for byte as PyTorch 2.11 does on the CPU.
enum TorchArchiveWriter {
  /// The folder inside an archive that is not saved under a file's name.
  static let folder = "archive"

  /// One contiguous tensor; returns the checksum of its bytes.
  @discardableResult
  static func write(
    dtype: DType, shape: [Int], _ bytes: UnsafeRawBufferPointer, to output: any ByteOutput
  ) throws -> UInt32 {
    let pickle = try PickleWriter.bytes(of: TensorPickling.value(dtype: dtype, shape: shape, key: "0"), .two)
    var checksum: UInt32 = 0
    try write(pickle: pickle, folder: folder, to: output) { zip in checksum = try zip.add("data/0", bytes) }
    return checksum
  }

  /// A value of plain types and small tensors.
  static func write(_ value: PickleValue, folder: String = folder, to output: any ByteOutput) throws {
    var tensors: [HostTensor] = []
    let pickle = try PickleWriter.bytes(of: TensorPickling.extractTensors(of: value, into: &tensors), .two)
    try write(pickle: pickle, folder: folder, to: output) { zip in
      for (i, tensor) in tensors.enumerated() { try zip.add("data/\(i)", tensor.bytes) }
    }
  }

  private static func write(
    pickle: [UInt8], folder: String, to output: any ByteOutput, storages: (inout ZipWriter) throws -> Void
  ) throws {
    var zip = ZipWriter(folder: folder, to: output)
    try zip.add("data.pkl", pickle)
    try zip.add(".format_version", Array("1".utf8))
    try zip.add(".storage_alignment", Array("\(ZipFormat.alignment)".utf8))
    try zip.add("byteorder", Array("little".utf8))
    try storages(&zip)
    try zip.add("version", Array("3\n".utf8))
    try zip.add(".data/serialization_id", Array(SerializationID.digits(of: zip.records).utf8))
    try zip.finish()
  }
}
