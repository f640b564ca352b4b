import Foundation

/// A folder under construction: it is written as `<name>.partial` and gets its name only when it is complete, so a
/// folder that has its name is whole, whenever the machine stopped.
///
/// Several ranks can fill it: one makes it with `init(for:)`, the others write into `PartialFolder.url(for:)`, and after a
/// barrier the first one commits.
public struct PartialFolder: Sendable {
  public let destination: URL

  /// Where the files are written.
  public var url: URL { Self.url(for: destination) }

  public static func url(for destination: URL) -> URL {
    destination.deletingLastPathComponent().appendingPathComponent(destination.lastPathComponent + ".partial")
  }

  /// Makes an empty partial folder (and its parents), in place of one that an interrupted save left.
  public init(for destination: URL) throws {
    self.destination = destination.standardizedFileURL
    let files = FileManager.default
    do {
      if files.fileExists(atPath: url.path) { try files.removeItem(at: url) }
      try files.createDirectory(at: url, withIntermediateDirectories: true)
    } catch {
      throw CheckpointError(url, "cannot make the folder: \(error.localizedDescription)")
    }
  }

  /// Brings everything to the disk, then gives the folder its name. A folder that has the name already is replaced in
  /// one step where the file system can exchange two names, and removed afterwards.
  public func commit() throws {
    let contents = FileManager.default.enumerator(at: url, includingPropertiesForKeys: nil)
    while let item = contents?.nextObject() as? URL { try sync(item) }
    try sync(url)
    if rename(url.path, destination.path) != 0 {
      guard errno == ENOTEMPTY || errno == EEXIST else {
        throw CheckpointError(destination, failedTo: "move the finished folder into place")
      }
      try replace()
    }
    try sync(destination.deletingLastPathComponent())
  }

  private func replace() throws {
    if exchangeNames(url, destination) {
      try sync(destination.deletingLastPathComponent())
      try FileManager.default.removeItem(at: url)
      return
    }
    let old = destination.deletingLastPathComponent().appendingPathComponent(destination.lastPathComponent + ".old")
    try? FileManager.default.removeItem(at: old)
    guard rename(destination.path, old.path) == 0, rename(url.path, destination.path) == 0 else {
      throw CheckpointError(destination, failedTo: "replace the folder")
    }
    try FileManager.default.removeItem(at: old)
  }

  /// Removes what was written.
  public func discard() { try? FileManager.default.removeItem(at: url) }
}

/// Exchanges two names in one step; false where the system or the file system cannot.
private func exchangeNames(_ a: URL, _ b: URL) -> Bool {
  #if os(Linux)
    // Swift's Glibc module lacks this call of the C library, and its constant RENAME_EXCHANGE, which is 2.
    typealias Call = @convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32
    guard let symbol = dlsym(nil, "renameat2") else { return false }
    return unsafeBitCast(symbol, to: Call.self)(AT_FDCWD, a.path, AT_FDCWD, b.path, 2) == 0
  #else
    return false
  #endif
}
