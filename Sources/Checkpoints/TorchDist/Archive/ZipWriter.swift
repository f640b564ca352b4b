/// Writes a zip archive in PyTorch's manner, entry by entry, wherever the output stands.
struct ZipWriter {
  /// Data goes out in parts of this size, each summed up while it is in the processor's cache.
  private static let part = 256 << 10

  private let folder: String
  private let output: any ByteOutput
  private let start: Int
  private var entries: [ZipFormat.Entry] = []

  /// - Parameter folder: what the names of all entries begin with, and a slash.
  init(folder: String, to output: any ByteOutput) {
    (self.folder, self.output, start) = (folder, output, output.position)
  }

  /// What was added so far.
  var records: [SerializationID.Record] {
    entries.map { entry in
      let name = String(decoding: entry.name.utf8.dropFirst(folder.utf8.count + 1), as: UTF8.self)
      return (name, entry.byteCount == 0 ? nil : entry.checksum)
    }
  }

  /// Returns the checksum of the data.
  @discardableResult
  mutating func add(_ name: String, _ data: UnsafeRawBufferPointer) throws -> UInt32 {
    var entry = ZipFormat.Entry(
      name: "\(folder)/\(name)", offset: output.position - start, byteCount: data.count, checksum: 0)
    try output.append(ZipFormat.localHeader(name: entry.name, offset: entry.offset, byteCount: entry.byteCount))
    var crc = CRC32()
    for first in stride(from: 0, to: data.count, by: Self.part) {
      let part = UnsafeRawBufferPointer(rebasing: data[first..<min(data.count, first + Self.part)])
      crc.update(part)
      try output.append(part)
    }
    entry.checksum = crc.value
    try output.append(ZipFormat.descriptor(of: entry))
    entries.append(entry)
    return crc.value
  }

  mutating func add(_ name: String, _ data: [UInt8]) throws { _ = try data.withUnsafeBytes { try add(name, $0) } }

  func finish() throws { try output.append(ZipFormat.directory(of: entries, at: output.position - start)) }
}
