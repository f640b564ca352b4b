import Foundation

/// Files of `torch.save`, such as Megatron-Core's `common.pt`: plain values and small tensors.
public enum TorchFile {
  /// What the file holds, tensors copied. Throws `CheckpointError`.
  /// - Parameter allowed: the classes and functions that the file may name.
  public static func read(_ url: URL, allowing allowed: PickleAllowList = .torchSave) throws -> PickleValue {
    let file = try MappedFile(url)
    return try withExtendedLifetime(file) { try explaining(url) { try parse(file.bytes, allowing: allowed) } }
  }

  /// Writes the file whole or not at all. Throws `CheckpointError`.
  public static func write(_ value: PickleValue, to url: URL) throws {
    let partial = url.appendingPathExtension("partial")
    let output = try FileOutput(creating: partial)
    do {
      try explaining(url) {
        try TorchArchiveWriter.write(value, folder: url.deletingPathExtension().lastPathComponent, to: output)
      }
      try output.finish()
      try publish(partial, as: url)
    } catch {
      unlink(partial.path)
      throw error
    }
  }

  /// The sizes of the archive's entries, by name.
  package static func entries(of url: URL) throws -> [String: Int] {
    let file = try MappedFile(url)
    return try withExtendedLifetime(file) {
      try explaining(url) { try ZipReader(file.bytes).entries.mapValues(\.data.count) }
    }
  }

  static func parse(_ bytes: UnsafeRawBufferPointer, allowing allowed: PickleAllowList) throws -> PickleValue {
    try TorchArchiveReader(bytes, allowing: allowed).valueWithTensors()
  }

  /// Puts the file's name, and the item's, before what is wrong with it.
  static func explaining<Result>(_ url: URL, item: String? = nil, _ body: () throws -> Result) throws -> Result {
    let place = item.map { "\($0): " } ?? ""
    do {
      return try body()
    } catch let error as PickleError {
      throw CheckpointError(url, place + error.problem)
    } catch let error as ZipReader.Failure {
      throw CheckpointError(url, place + error.problem)
    }
  }
}
