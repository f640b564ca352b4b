import Checkpoints
import Foundation

/// The description of a folder `weight_vN`, in its file `delta.json`.
///
/// A folder without `tensors` is a whole checkpoint, from which a chain of deltas begins. A delta holds, for each shard of
/// the checkpoint, a safetensors file of bytes: what changed in the tensor of that name.
package struct PublishedVersion: Codable, Equatable {
  package struct Tensor: Codable, Equatable {
    package var file: String
    /// Of the whole tensor as it is afterwards.
    package var checksum: String
  }

  static let fileName = "delta.json"

  /// Versions of one chain belong together: another run may have used the same folder and numbers.
  package var chain: String
  package var version: Int
  /// The version that a delta starts from.
  package var baseVersion: Int?
  package var deltaEncoding: DeltaEncoding?
  package var compressionFormat: String?
  package var checksumFormat: DeltaChecksum?
  package var tensors: [String: Tensor]?

  package init(
    chain: String, version: Int, baseVersion: Int? = nil, deltaEncoding: DeltaEncoding? = nil,
    compressionFormat: String? = nil, checksumFormat: DeltaChecksum? = nil
  ) {
    (self.chain, self.version, self.baseVersion) = (chain, version, baseVersion)
    (self.deltaEncoding, self.compressionFormat, self.checksumFormat) = (deltaEncoding, compressionFormat, checksumFormat)
  }

  package enum CodingKeys: String, CodingKey {
    case chain, version, tensors
    case baseVersion = "base_version"
    case deltaEncoding = "delta_encoding"
    case compressionFormat = "compression_format"
    case checksumFormat = "checksum_format"
  }

  static func read(_ folder: URL) throws -> PublishedVersion {
    let file = folder.appendingPathComponent(fileName)
    do {
      return try JSONDecoder().decode(PublishedVersion.self, from: Data(contentsOf: file))
    } catch {
      throw WeightSyncError("\(file.path) is missing or cannot be read: there is no version to pull in that folder")
    }
  }

  package func write(to folder: URL) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    try writeAtomically(encoder.encode(self), to: folder.appendingPathComponent(Self.fileName))
  }
}

extension SafetensorsDType {
  /// What changes as one.
  var elementSize: Int { max(bits / 8, 1) }
}

/// Writes what changed between two folders of the same model.
/// - Parameter description: of the new version, without its tensors.
/// - Returns: bytes that were written.
@discardableResult
package func writeDelta(from old: URL, to new: URL, into folder: URL, _ description: PublishedVersion) throws -> Int {
  var description = description
  guard let encoding = description.deltaEncoding, let checksum = description.checksumFormat else {
    throw WeightSyncError("a delta needs an encoding and a checksum")
  }
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  let (before, after) = (try WeightFiles(in: old), try WeightFiles(in: new))
  var tensors: [String: PublishedVersion.Tensor] = [:]
  var written = 0
  for (oldFile, newFile) in zip(before.files, after.files) {
    guard oldFile.tensors == newFile.tensors else {
      throw WeightSyncError("\(newFile.url.path) does not hold the tensors of the version before it")
    }
    let name = "delta-" + newFile.url.lastPathComponent
    var parts: [TensorSource] = []
    for tensor in newFile.tensors {
      let (oldBytes, newBytes) = (oldFile.bytes(of: tensor), newFile.bytes(of: tensor))
      guard oldBytes.count > 0, memcmp(oldBytes.baseAddress!, newBytes.baseAddress!, newBytes.count) != 0 else { continue }
      let delta = encoding.encode(oldBytes, newBytes, elementSize: tensor.dtype.elementSize)
      parts.append(TensorSource(TensorSpecification(name: tensor.name, dtype: .uint8, shape: [delta.count]), bytes: delta))
      tensors[tensor.name] = .init(file: name, checksum: checksum.of(newBytes))
      written += delta.count
    }
    if !parts.isEmpty { try SafetensorsWriter.write(to: folder.appendingPathComponent(name), tensors: parts) }
  }
  description.tensors = tensors
  try description.write(to: folder)
  return written
}
