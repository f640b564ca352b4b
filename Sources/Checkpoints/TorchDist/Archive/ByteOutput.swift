import Foundation

/// Where bytes are appended.
protocol ByteOutput: AnyObject {
  /// How many there are so far.
  var position: Int { get }
  func append(_ bytes: UnsafeRawBufferPointer) throws
}

extension ByteOutput {
  func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }
}

final class MemoryOutput: ByteOutput {
  private(set) var bytes: [UInt8] = []
  var position: Int { bytes.count }

  func append(_ more: UnsafeRawBufferPointer) throws { bytes += more }
}

/// A new file, written from front to back: small parts are gathered, large ones go straight from the caller's memory.
final class FileOutput: ByteOutput {
  private static let gathered = 64 << 10

  private let file: OutputFile
  private var pending: [UInt8] = []
  private(set) var position = 0

  init(creating url: URL) throws {
    file = try OutputFile(creating: url, byteCount: 0)
    pending.reserveCapacity(Self.gathered)
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws {
    if pending.count + bytes.count > Self.gathered { try flush() }
    if bytes.count > Self.gathered {
      try file.write(bytes, at: position)
    } else {
      pending += bytes
    }
    position += bytes.count
  }

  private func flush() throws {
    try pending.withUnsafeBytes { try file.write($0, at: position - $0.count) }
    pending.removeAll(keepingCapacity: true)
  }

  /// Returns when the contents have reached the disk.
  func finish() throws {
    try flush()
    try file.syncAndClose()
  }
}
