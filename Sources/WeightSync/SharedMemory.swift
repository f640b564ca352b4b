import Foundation

/// Memory that two processes of one machine see.
///
/// It is an anonymous file (`memfd_create`): no name lies in a folder, and when the last process that holds it ends, however
/// it ends, the memory is gone. Others reach it through `path` as long as this object lives.
final class SharedMemory: @unchecked Sendable {
  let path: String
  let base: UnsafeMutableRawPointer
  let byteCount: Int
  /// What keeps `path` open; nil where the memory is someone else's.
  private let descriptor: Int32?

  private init(path: String, mapping descriptor: Int32, owned: Bool, byteCount: Int) throws {
    let address = mmap(nil, max(byteCount, 1), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    guard let address, address != MAP_FAILED else {
      let reason = lastSystemError()
      close(descriptor)
      throw WeightSyncError("\(byteCount) bytes of shared memory cannot be mapped: \(reason)")
    }
    if !owned { close(descriptor) }
    (self.path, base, self.byteCount, self.descriptor) = (path, address, byteCount, owned ? descriptor : nil)
  }

  deinit {
    munmap(base, max(byteCount, 1))
    if let descriptor { close(descriptor) }
  }

  /// Fresh memory.
  static func make(byteCount: Int) throws -> SharedMemory {
    let descriptor = anonymousFile("slime-weights")
    guard descriptor >= 0 else { throw WeightSyncError("shared memory cannot be made: \(lastSystemError())") }
    // Allocated now: where there is no room, that is an error here and not a bus error later.
    let failure = posix_fallocate(descriptor, 0, off_t(max(byteCount, 1)))
    guard failure == 0 else {
      close(descriptor)
      throw WeightSyncError(
        "there is no memory for a weight bucket of \(byteCount) bytes (\(String(cString: strerror(failure)))); lower --update-weight-buffer-size")
    }
    return try SharedMemory(
      path: "/proc/\(getpid())/fd/\(descriptor)", mapping: descriptor, owned: true, byteCount: byteCount)
  }

  static func open(_ path: String, byteCount: Int) throws -> SharedMemory {
    let descriptor = Foundation.open(path, O_RDWR | O_CLOEXEC)
    guard descriptor >= 0 else { throw WeightSyncError("the weight bucket \(path) cannot be opened: \(lastSystemError())") }
    // A bucket that is not this long would be a bus error at its first use.
    var status = stat()
    guard fstat(descriptor, &status) == 0, Int(status.st_size) == max(byteCount, 1) else {
      close(descriptor)
      throw WeightSyncError("the weight bucket \(path) has \(status.st_size) bytes, not \(byteCount)")
    }
    return try SharedMemory(path: path, mapping: descriptor, owned: false, byteCount: byteCount)
  }
}

extension SharedMemory {
  /// Runs `body` with memory that another process shares by a name (`shm_open`), such as torch does.
  static func withPOSIXMemory<R>(
    _ name: String, byteCount: Int, _ body: (UnsafeRawBufferPointer) throws -> R
  ) throws -> R {
    guard name.hasPrefix("/"), !name.dropFirst().contains("/"), !name.contains("\0"), name.utf8.count < 250 else {
      throw WeightSyncError("'\(name)' is not a name of shared memory")
    }
    let descriptor = shm_open(name, O_RDONLY, 0)
    guard descriptor >= 0 else {
      throw WeightSyncError(
        "the shared memory '\(name)' cannot be opened (\(lastSystemError())); its sender must be on this machine and keep it")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, Int(status.st_size) >= byteCount else {
      throw WeightSyncError("the shared memory '\(name)' has \(status.st_size) bytes, not \(byteCount)")
    }
    guard byteCount > 0 else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
    let address = mmap(nil, byteCount, PROT_READ, MAP_SHARED, descriptor, 0)
    guard let address, address != MAP_FAILED else {
      throw WeightSyncError("\(byteCount) bytes of shared memory cannot be mapped: \(lastSystemError())")
    }
    defer { munmap(address, byteCount) }
    return try body(UnsafeRawBufferPointer(start: address, count: byteCount))
  }
}

/// `memfd_create`, which the C library's module for Swift leaves out.
private func anonymousFile(_ name: String) -> Int32 {
  guard let symbol = dlsym(nil, "memfd_create") else {
    errno = ENOSYS
    return -1
  }
  let create = unsafeBitCast(symbol, to: (@convention(c) (UnsafePointer<CChar>, UInt32) -> Int32).self)
  let closesOnExec: UInt32 = 1
  return create(name, closesOnExec)
}

private func lastSystemError() -> String { String(cString: strerror(errno)) }

/// Why weights did not arrive, in one sentence.
public struct WeightSyncError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
