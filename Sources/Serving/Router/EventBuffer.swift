import NIOCore

/// Passes on the bytes of a stream of events up to the end of the last whole event: a stream that breaks off leaves no half of
/// one behind, after which nothing could be said.
package struct EventBuffer {
  private var held = ByteBuffer()
  /// An event may be as long as this; a longer one is passed on in pieces.
  private let limit: Int

  package init(limit: Int = 64 << 20) { self.limit = limit }

  /// - Returns: the bytes to pass on now.
  package mutating func append(_ part: ByteBuffer) -> ByteBuffer {
    var part = part
    if held.readableBytes == 0 { held = part } else { held.writeBuffer(&part) }
    guard let end = lastEnd() ?? (held.readableBytes > limit ? held.readableBytes : nil) else { return ByteBuffer() }
    let whole = held.readSlice(length: end) ?? ByteBuffer()
    if held.readableBytes == 0 { held = ByteBuffer() }
    return whole
  }

  /// What is left when the stream ends as it should.
  package mutating func finish() -> ByteBuffer {
    defer { held = ByteBuffer() }
    return held
  }

  /// Bytes up to and with the last empty line.
  private func lastEnd() -> Int? {
    held.withUnsafeReadableBytes { bytes in
      var position = bytes.count - 1
      while position > 0 {
        if bytes[position] == 10 {
          if bytes[position - 1] == 10 { return position + 1 }
          if position > 2, bytes[position - 1] == 13, bytes[position - 2] == 10 { return position + 1 }
        }
        position -= 1
      }
      return nil
    }
  }
}
