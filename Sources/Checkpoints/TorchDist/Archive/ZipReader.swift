/// The entries of a zip archive in memory. Only stored entries can be read, which is what `torch.save` writes.
struct ZipReader {
  struct Failure: Error {
    let problem: String
    init(_ problem: String) { self.problem = problem }
  }

  struct Entry {
    let data: UnsafeRawBufferPointer
    let checksum: UInt32

    var isIntact: Bool { CRC32.checksum(data) == checksum }
  }

  /// By name, without the folder that all entries of a `torch.save` file lie in.
  private(set) var entries: [String: Entry] = [:]
  private let bytes: UnsafeRawBufferPointer

  /// Throws `Failure`.
  init(_ bytes: UnsafeRawBufferPointer) throws {
    self.bytes = bytes
    guard bytes.count >= 4, number(at: 0, UInt32.self) == ZipFormat.localHeaderSignature else {
      throw Failure("it does not begin as a zip archive does")
    }
    let directory = try findDirectory()
    var position = directory.range.lowerBound
    for _ in 0..<directory.count {
      let header = try directoryEntry(at: position, end: directory.range.upperBound)
      position = header.end
      guard let name = header.name.split(separator: "/", maxSplits: 1).last.map(String.init) else {
        throw Failure("an entry of its directory has no name")
      }
      guard entries.updateValue(try entry(header), forKey: name) == nil else {
        throw Failure("its directory names '\(name)' twice")
      }
    }
  }

  /// The names of the entries whose bytes do not have the checksum that they should have, sorted.
  func damagedEntries() -> [String] { entries.filter { !$0.value.isIntact }.map(\.key).sorted() }

  private func number<Number: FixedWidthInteger>(at offset: Int, _ type: Number.Type) -> Number {
    Number(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
  }

  private static let truncation = Failure("it is truncated or corrupt: the zip directory at its end is missing")

  /// Where the directory lies, and how many entries it has.
  private func findDirectory() throws -> (range: Range<Int>, count: Int) {
    // A comment of up to 65535 bytes may follow the end record; PyTorch writes none.
    var end = bytes.count - ZipFormat.endCount
    let first = max(0, end - Int(UInt16.max))
    while end >= first, number(at: end, UInt32.self) != ZipFormat.endSignature { end -= 1 }
    guard end >= first else { throw Self.truncation }
    var count = Int(number(at: end + 10, UInt16.self))
    var size = UInt64(number(at: end + 12, UInt32.self))
    var offset = UInt64(number(at: end + 16, UInt32.self))
    let locator = end - ZipFormat.end64LocatorCount
    if locator >= 0, number(at: locator, UInt32.self) == ZipFormat.end64LocatorSignature {
      guard let end64 = Int(exactly: number(at: locator + 8, UInt64.self)), end64 <= locator - ZipFormat.end64Count,
        number(at: end64, UInt32.self) == ZipFormat.end64Signature,
        let count64 = Int(exactly: number(at: end64 + 32, UInt64.self))
      else { throw Self.truncation }
      (count, size, offset) = (count64, number(at: end64 + 40, UInt64.self), number(at: end64 + 48, UInt64.self))
    }
    guard let size = Int(exactly: size), let offset = Int(exactly: offset), offset <= end, size <= end - offset,
      count <= size / ZipFormat.centralHeaderCount
    else { throw Self.truncation }
    return (offset..<offset + size, count)
  }

  private struct Header {
    var name: String
    var method: UInt16
    var checksum: UInt32
    var byteCount: UInt64
    var offset: UInt64
    var end: Int
  }

  private func directoryEntry(at position: Int, end: Int) throws -> Header {
    let fixed = ZipFormat.centralHeaderCount
    guard end - position >= fixed, number(at: position, UInt32.self) == ZipFormat.centralHeaderSignature else {
      throw Self.truncation
    }
    let nameCount = Int(number(at: position + 28, UInt16.self))
    let extraCount = Int(number(at: position + 30, UInt16.self))
    let commentCount = Int(number(at: position + 32, UInt16.self))
    let next = position + fixed + nameCount + extraCount + commentCount
    guard next <= end else { throw Self.truncation }
    let name = String(decoding: bytes[position + fixed..<position + fixed + nameCount], as: UTF8.self)
    let stored = number(at: position + 20, UInt32.self)
    var header = Header(
      name: name, method: number(at: position + 10, UInt16.self), checksum: number(at: position + 16, UInt32.self),
      byteCount: UInt64(number(at: position + 24, UInt32.self)), offset: UInt64(number(at: position + 42, UInt32.self)),
      end: next)
    // The zip64 field holds, in this order, those of size, stored size and offset that do not fit their fields.
    var field = position + fixed + nameCount
    let fieldsEnd = field + extraCount
    while fieldsEnd - field >= 4 {
      let kind = number(at: field, UInt16.self)
      let fieldEnd = field + 4 + Int(number(at: field + 2, UInt16.self))
      guard fieldEnd <= fieldsEnd else { throw Self.truncation }
      if kind == 1 {
        var numbers = stride(from: field + 4, through: fieldEnd - 8, by: 8).map { number(at: $0, UInt64.self) }[...]
        if header.byteCount == UInt32.max { header.byteCount = numbers.popFirst() ?? header.byteCount }
        if stored == UInt32.max { _ = numbers.popFirst() }
        if header.offset == UInt32.max { header.offset = numbers.popFirst() ?? header.offset }
      }
      field = fieldEnd
    }
    return header
  }

  private func entry(_ header: Header) throws -> Entry {
    guard header.method == 0 else { throw Failure("its entry '\(header.name)' is compressed; only stored ones can be read") }
    let fixed = ZipFormat.localHeaderCount
    let problem = Failure("its entry '\(header.name)' does not lie where its directory says; it is corrupt")
    guard let offset = Int(exactly: header.offset), let count = Int(exactly: header.byteCount),
      offset <= bytes.count - fixed, number(at: offset, UInt32.self) == ZipFormat.localHeaderSignature
    else { throw problem }
    let begin = offset + fixed + Int(number(at: offset + 26, UInt16.self)) + Int(number(at: offset + 28, UInt16.self))
    guard begin <= bytes.count, count <= bytes.count - begin else { throw problem }
    return Entry(data: UnsafeRawBufferPointer(rebasing: bytes[begin..<begin + count]), checksum: header.checksum)
  }
}
