import Foundation

/// An open file descriptor, closed with its last reference.
package final class FileDescriptor: Sendable {
  package let number: Int32

  /// Takes over `number` and marks it close-on-exec.
  init(_ number: Int32) {
    self.number = number
    _ = fcntl(number, F_SETFD, FD_CLOEXEC)
  }

  deinit { close(number) }

  /// Two connected stream sockets, with as large a buffer as the system allows up to 4 MiB: fewer thread switches for large data.
  package static func socketPair() throws -> (FileDescriptor, FileDescriptor) {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw SystemError("socketpair")
    }
    for socket in pair {
      var size: Int32 = 4 << 20
      setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
    }
    return (FileDescriptor(pair[0]), FileDescriptor(pair[1]))
  }

  static func pipe() throws -> (read: FileDescriptor, write: FileDescriptor) {
    var pair: [Int32] = [-1, -1]
    guard Foundation.pipe(&pair) == 0 else { throw SystemError("pipe") }
    return (FileDescriptor(pair[0]), FileDescriptor(pair[1]))
  }

  /// All open descriptors of this process.
  static var open: [Int32] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []).compactMap { Int32($0) }
  }

  /// Reads up to `buffer.count` bytes; 0 at the end or after an error: either way nothing more will come.
  func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
    while true {
      let count = Foundation.read(number, buffer.baseAddress, buffer.count)
      if count < 0 && errno == EINTR { continue }
      return max(count, 0)
    }
  }

  /// Writes all of `bytes`, as far as anybody reads them.
  package func write(_ bytes: some Collection<UInt8>) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(number, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}

/// Reads a stream in exact amounts with few system calls.
struct BufferedReader {
  let source: FileDescriptor
  private var buffer = [UInt8](repeating: 0, count: 64 << 10)
  private var available = 0..<0

  init(_ source: FileDescriptor) { self.source = source }

  /// Exactly `count` bytes; fewer at the end of the stream.
  mutating func read(_ count: Int) -> [UInt8] {
    if available.count < count && count <= buffer.count { fill(atLeast: count) }
    return [UInt8](unsafeUninitializedCapacity: count) { target, initialized in
      let target = UnsafeMutableRawBufferPointer(target)
      let buffered = available.prefix(count)
      buffer.withUnsafeBytes { target.copyBytes(from: $0[buffered]) }
      available = available.dropFirst(buffered.count)
      initialized = buffered.count
      while initialized < count {
        let got = source.read(into: UnsafeMutableRawBufferPointer(rebasing: target[initialized...]))
        if got == 0 { return }
        initialized += got
      }
    }
  }

  private mutating func fill(atLeast count: Int) {
    let kept = available.count
    buffer.withUnsafeMutableBytes { buffer in
      let moved = buffer[available]
      buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: moved))
      available = 0..<kept
      while available.count < count {
        let got = source.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[available.upperBound...]))
        if got == 0 { return }
        available = 0..<(available.upperBound + got)
      }
    }
  }
}

/// A system call that failed.
struct SystemError: Error, CustomStringConvertible {
  var description: String

  init(_ call: String, _ code: Int32 = errno) { description = "\(call) failed: \(String(cString: strerror(code)))" }
}
