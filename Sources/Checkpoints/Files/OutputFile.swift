import Foundation

/// A new file of a known size whose parts are written in any order.
final class OutputFile {
  let url: URL
  private var descriptor: Int32

  init(creating url: URL, byteCount: Int) throws {
    self.url = url
    descriptor = open(url.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw CheckpointError(url, failedTo: "create the file") }
    guard ftruncate(descriptor, off_t(byteCount)) == 0 else { throw CheckpointError(url, failedTo: "size the file") }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws {
    var written = 0
    while written < bytes.count {
      let rest = UnsafeRawBufferPointer(rebasing: bytes[written...])
      let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset + written))
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw CheckpointError(url, failedTo: "write to the file") }
      written += count
    }
  }

  /// Returns when the contents have reached the disk.
  func syncAndClose() throws {
    guard fsync(descriptor) == 0 else { throw CheckpointError(url, failedTo: "write the file to the disk") }
    let result = close(descriptor)
    descriptor = -1
    guard result == 0 else { throw CheckpointError(url, failedTo: "close the file") }
  }
}

/// Waits until a file's contents, or a folder's list of names, have reached the disk.
func sync(_ url: URL) throws {
  let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw CheckpointError(url, failedTo: "open") }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 else { throw CheckpointError(url, failedTo: "write to the disk") }
}

/// Moves a finished file to its name, replacing what was there: a reader sees the old file or the new one.
func publish(_ file: URL, as destination: URL) throws {
  guard rename(file.path, destination.path) == 0 else {
    throw CheckpointError(destination, failedTo: "move the finished file into place")
  }
  try sync(destination.deletingLastPathComponent())
}

/// Writes a small file that is there whole or not at all, whenever the machine stops.
public func writeAtomically(_ data: Data, to url: URL) throws {
  let partial = url.appendingPathExtension("partial")
  let file = try OutputFile(creating: partial, byteCount: data.count)
  try data.withUnsafeBytes { try file.write($0, at: 0) }
  try file.syncAndClose()
  try publish(partial, as: url)
}
