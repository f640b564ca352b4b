import Foundation

/// Frames over a stream socket, with a thread that reads and one that writes.
///
/// `send` never blocks: what the socket does not take at once is left to the writing thread.
package final class FrameConnection: @unchecked Sendable {
  private let socket: FileDescriptor
  private let name: String
  /// Guards everything below.
  private let condition = NSCondition()
  private var outgoing: [[UInt8]] = []
  private var isWriting = false
  private var isClosed = false

  package init(_ socket: FileDescriptor, name: String) {
    (self.socket, self.name) = (socket, name)
  }

  /// Starts the threads. `onFrame` and then, once, `onEnd` are called on the reading thread; `onEnd` with a sentence if the
  /// stream ended because of what it carried.
  package func start(
    onFrame: @escaping @Sendable (Frame) -> Void, onEnd: @escaping @Sendable (FrameError?) -> Void
  ) {
    startThread("\(name) read") { [self] in
      var problem: FrameError?
      do throws(FrameError) {
        var reader = BufferedReader(socket)
        while let frame = try read(&reader) { onFrame(frame) }
      } catch {
        problem = error
      }
      close()
      onEnd(problem)
    }
    startThread("\(name) write") { [self] in write() }
  }

  /// Nothing is sent or received any more.
  package func close() {
    condition.withLock {
      isClosed = true
      outgoing = []
      shutdown(socket.number, Int32(SHUT_RDWR))
      condition.broadcast()
    }
  }

  // MARK: - Reading

  private func read(_ reader: inout BufferedReader) throws(FrameError) -> Frame? {
    let bytes = reader.read(FrameHeader.size)
    guard bytes.count == FrameHeader.size else {
      if bytes.isEmpty { return nil }
      throw FrameError(description: "half a frame header")
    }
    let header = try FrameHeader(parsing: bytes)
    let head = reader.read(header.headCount)
    let body = reader.read(header.bodyCount)
    guard head.count == header.headCount, body.count == header.bodyCount else {
      throw FrameError(description: "half a frame (\(head.count + body.count) of \(header.headCount + header.bodyCount) bytes)")
    }
    return Frame(kind: header.kind, id: header.id, head: head, body: body)
  }

  // MARK: - Writing

  /// Frames up to this size are copied together and tried on the calling thread: that saves a thread switch a call.
  private static let small = 64 << 10

  /// Sends a frame, or drops it if the connection has ended.
  /// - Throws: if the frame is larger than any receiver accepts.
  package func send(_ frame: Frame) throws(FrameError) {
    guard frame.body.count <= FrameHeader.maximumBody, frame.head.count <= FrameHeader.maximumHead else {
      throw FrameError(description: "a message of \(frame.body.count) bytes; at most \(FrameHeader.maximumBody) travel at once")
    }
    let isSmall = frame.body.count <= Self.small
    let chunks = isSmall ? [frame.prefix + frame.body] : [frame.prefix, frame.body]
    condition.withLock {
      guard !isClosed else { return }
      if isSmall && outgoing.isEmpty && !isWriting {
        let sent = chunks[0].withUnsafeBytes {
          Foundation.send(socket.number, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
        }
        if sent == chunks[0].count { return }
        outgoing.append(Array(chunks[0].dropFirst(max(sent, 0))))
      } else {
        outgoing.append(contentsOf: chunks)
      }
      condition.broadcast()
    }
  }

  /// Waits until all has been written, or nothing will be. Blocks: not for the cooperative pool.
  func drain() {
    condition.withLock {
      while !isClosed && (isWriting || !outgoing.isEmpty) { condition.wait() }
    }
  }

  private func write() {
    while let chunks = nextChunks() {
      for chunk in chunks where !writeAll(chunk) { return close() }
    }
  }

  private func nextChunks() -> [[UInt8]]? {
    condition.withLock {
      isWriting = false
      condition.broadcast()
      while outgoing.isEmpty && !isClosed { condition.wait() }
      if isClosed { return nil }
      isWriting = true
      defer { outgoing = [] }
      return outgoing
    }
  }

  private func writeAll(_ bytes: [UInt8]) -> Bool {
    bytes.withUnsafeBytes { bytes in
      var offset = 0
      while offset < bytes.count {
        let sent = Foundation.send(
          socket.number, bytes.baseAddress! + offset, bytes.count - offset, Int32(MSG_NOSIGNAL))
        if sent < 0 && errno == EINTR { continue }
        guard sent > 0 else { return false }
        offset += sent
      }
      return true
    }
  }
}
