import Foundation
import Synchronization

/// The files of a checkpoint's folder, mapped when they are first needed.
final class CheckpointFiles: Sendable {
  private let folder: URL
  private let mapped = Mutex<[String: MappedFile]>([:])

  init(in folder: URL) { self.folder = folder }

  /// Calls `body` with an item's bytes.
  /// - Parameter item: what it is, for messages: every error names the file and the item.
  func withBytes<Result>(
    _ location: FileLocation, item: String, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) throws -> Result {
    let url = folder.appendingPathComponent(location.file)
    let file = try file(location.file, url)
    guard location.offset <= file.count, location.length <= file.count - location.offset else {
      throw CheckpointError(
        url, "\(item) should be \(location.length) bytes from byte \(location.offset) on, but the file ends after "
          + "\(file.count); it is truncated")
    }
    return try withExtendedLifetime(file) {
      try TorchFile.explaining(url, item: item) {
        try body(UnsafeRawBufferPointer(rebasing: file.bytes[location.offset..<location.offset + location.length]))
      }
    }
  }

  /// Calls `body` with the `torch.save` archive that an item is.
  func withArchive<Result>(
    _ location: FileLocation, item: String, _ body: (TorchArchiveReader) throws -> Result
  ) throws -> Result {
    try withBytes(location, item: item) { try body(TorchArchiveReader($0, allowing: .torchSave)) }
  }

  private func file(_ name: String, _ url: URL) throws -> MappedFile {
    try mapped.withLock { mapped in
      if let file = mapped[name] { return file }
      guard FileManager.default.fileExists(atPath: url.path) else {
        throw CheckpointError(url, "this file of the checkpoint is missing; .metadata names it")
      }
      let file = try MappedFile(url)
      mapped[name] = file
      return file
    }
  }
}
