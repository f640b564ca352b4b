import Foundation

/// A whole file mapped into memory: pages are read when touched, and the system may drop them again at any time.
///
/// The mapping is private and writable (copy on write), so a tensor that views it may be changed in place without
/// touching the file. It ends with this object; whoever hands out pointers into it keeps the object alive.
final class MappedFile: Sendable {
  private let base: UInt
  let count: Int

  var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: base), count: count)
  }

  init(_ url: URL) throws {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw CheckpointError(url, failedTo: "open the file") }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw CheckpointError(url, failedTo: "read the file's size") }
    guard status.st_mode & S_IFMT == S_IFREG else { throw CheckpointError(url, "this is not a regular file") }
    count = Int(status.st_size)
    guard count > 0 else { base = 0; return }
    // Without a reservation of memory: a model larger than the memory can still be mapped.
    let flags = MAP_PRIVATE | MAP_NORESERVE
    guard let address = mmap(nil, count, PROT_READ | PROT_WRITE, flags, descriptor, 0), address != MAP_FAILED else {
      throw CheckpointError(url, failedTo: "map the file into memory")
    }
    base = UInt(bitPattern: address)
  }

  deinit {
    if base != 0 { munmap(UnsafeMutableRawPointer(bitPattern: base), count) }
  }
}
