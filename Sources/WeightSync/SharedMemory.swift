import Foundation

/// Memory that two processes of one machine see; it has a name until someone unlinks it.
final class SharedMemory: @unchecked Sendable {
  let path: String
  let base: UnsafeMutableRawPointer
  let byteCount: Int

  private init(path: String, descriptor: Int32, byteCount: Int) throws {
    let address = mmap(nil, max(byteCount, 1), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    close(descriptor)
    guard let address, address != MAP_FAILED else {
      throw WeightSyncError("\(byteCount) bytes of shared memory at \(path) cannot be mapped: \(lastSystemError())")
    }
    (self.path, base, self.byteCount) = (path, address, byteCount)
  }

  deinit { munmap(base, max(byteCount, 1)) }

  /// Fresh memory under a new name.
  static func make(byteCount: Int) throws -> SharedMemory {
    let folder = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
    let path = folder + "/slime-\(getpid())-\(UUID().uuidString)"
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw WeightSyncError("shared memory \(path) cannot be made: \(lastSystemError())") }
    // Allocated now: a full file system is an error here and not a bus error later.
    let failure = posix_fallocate(descriptor, 0, off_t(max(byteCount, 1)))
    guard failure == 0 else {
      close(descriptor)
      unlink(path)
      throw WeightSyncError(
        "\(folder) has no room for a weight bucket of \(byteCount) bytes: \(String(cString: strerror(failure))); lower --update-weight-buffer-size")
    }
    return try SharedMemory(path: path, descriptor: descriptor, byteCount: byteCount)
  }

  static func open(_ path: String, byteCount: Int) throws -> SharedMemory {
    let descriptor = Foundation.open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw WeightSyncError("the weight bucket \(path) cannot be opened: \(lastSystemError())") }
    return try SharedMemory(path: path, descriptor: descriptor, byteCount: byteCount)
  }
}

/// Removes the name; the memory lives on while it is mapped.
func unlinkSharedMemory(_ path: String) { unlink(path) }

private func lastSystemError() -> String { String(cString: strerror(errno)) }

/// Why weights did not arrive, in one sentence.
public struct WeightSyncError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
