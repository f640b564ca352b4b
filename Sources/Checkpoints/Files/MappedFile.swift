import Dispatch
import Foundation
import Synchronization

/// A whole file mapped into memory: pages are read when touched, and the system may drop them again at any time.
///
/// The mapping is private and writable (copy on write), so a tensor that views it may be changed in place without
/// touching the file. It ends with this object; whoever hands out pointers into it keeps the object alive.
final class MappedFile: Sendable {
  private let url: URL
  private let descriptor: Int32
  private let base: UInt
  let count: Int

  var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: base), count: count)
  }

  init(_ url: URL) throws {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw CheckpointError(url, failedTo: "open the file") }
    do {
      var status = stat()
      guard fstat(descriptor, &status) == 0 else { throw CheckpointError(url, failedTo: "read the file's size") }
      guard status.st_mode & S_IFMT == S_IFREG else { throw CheckpointError(url, "this is not a regular file") }
      count = Int(status.st_size)
      base = count == 0 ? 0 : try Self.map(descriptor, count, url)
    } catch {
      close(descriptor)
      throw error
    }
    (self.url, self.descriptor) = (url, descriptor)
  }

  private static func map(_ descriptor: Int32, _ count: Int, _ url: URL) throws -> UInt {
    // Without a reservation of memory: a model larger than the memory can still be mapped.
    let flags = MAP_PRIVATE | MAP_NORESERVE
    guard let address = mmap(nil, count, PROT_READ | PROT_WRITE, flags, descriptor, 0), address != MAP_FAILED else {
      throw CheckpointError(url, failedTo: "map the file into memory")
    }
    return UInt(bitPattern: address)
  }

  deinit {
    if base != 0 { munmap(UnsafeMutableRawPointer(bitPattern: base), count) }
    close(descriptor)
  }

  /// Reads bytes into other memory, on all cores. Where all of them are wanted once it is faster than to copy them from the
  /// mapping, whose pages have to be mapped one after another.
  func read(_ range: Range<Int>, into memory: UnsafeMutableRawPointer) throws {
    let step = 16 << 20
    let failure = Mutex<CheckpointError?>(nil)
    nonisolated(unsafe) let memory = memory
    DispatchQueue.concurrentPerform(iterations: (range.count + step - 1) / step) { [url, descriptor] part in
      var place = range.lowerBound + part * step
      let end = min(place + step, range.upperBound)
      while place < end {
        let count = pread(descriptor, memory + (place - range.lowerBound), end - place, off_t(place))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
          let error = count == 0
            ? CheckpointError(url, "the file ends at byte \(place), before \(end); it was changed while it was read")
            : CheckpointError(url, failedTo: "read the file")
          return failure.withLock { $0 = error }
        }
        place += count
      }
    }
    if let error = failure.withLock({ $0 }) { throw error }
  }
}
