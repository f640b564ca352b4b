import Checkpoints
import Foundation

/// An engine's own copy of the newest weights on its machine, which deltas bring up to date in place. Engines of one
/// machine may share it: a lock in it lets one at a time work on it.
public struct LocalCheckpoint: Sendable {
  private struct State: Codable {
    var chain: String
    /// nil while the copy is being changed: what it holds then is no version.
    var version: Int?
  }

  private let folder: URL
  private var control: URL { folder.appendingPathComponent(".weight_sync") }
  private var stateFile: URL { control.appendingPathComponent("state.json") }

  public init(_ folder: URL) { self.folder = folder }

  /// Brings the copy to a version that is published in `source`: over deltas from where it stands, or from a whole
  /// checkpoint. Nothing is changed where a checksum would not be that of the publisher.
  public func pull(from source: URL, version: Int) async throws {
    try await WorkThread("pull weights") { () }.run { _ in try locked { try bring(to: version, source) } }
  }

  private func locked(_ body: () throws -> Void) throws {
    try FileManager.default.createDirectory(at: control, withIntermediateDirectories: true)
    let path = control.appendingPathComponent("lock").path
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0, flock(descriptor, LOCK_EX) == 0 else {
      throw WeightSyncError("\(path) cannot be locked: \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    try body()
  }

  private func bring(to version: Int, _ source: URL) throws {
    let target = try PublishedVersion.read(source.appendingPathComponent(versionFolder(version)))
    let state = (try? Data(contentsOf: stateFile)).flatMap { try? JSONDecoder().decode(State.self, from: $0) }
    // From the target back to where this copy stands.
    var steps: [(folder: URL, version: PublishedVersion)] = []
    var next = target
    while !(state?.chain == next.chain && state?.version == next.version) {
      steps.append((source.appendingPathComponent(versionFolder(next.version)), next))
      guard let base = next.baseVersion else { break }
      if state?.chain == next.chain, state?.version == base { break }
      do {
        guard base < next.version else { throw WeightSyncError("its base \(base) is not older") }
        next = try PublishedVersion.read(source.appendingPathComponent(versionFolder(base)))
        guard next.chain == target.chain, next.version == base else { throw WeightSyncError("its base is of another run") }
      } catch {
        let here = state?.version.map { "version \($0)" } ?? "no whole version"
        throw WeightSyncError(
          "version \(version) in \(source.path) is a delta, which cannot be reached from \(folder.path) with its \(here): \(error)")
      }
    }
    for step in steps.reversed() {
      if step.version.tensors == nil { try copy(step) } else { try apply(step) }
    }
  }

  private func note(_ version: PublishedVersion, isWhole: Bool) throws {
    let state = State(chain: version.chain, version: isWhole ? version.version : nil)
    try writeAtomically(JSONEncoder().encode(state), to: stateFile)
  }

  private func copy(_ step: (folder: URL, version: PublishedVersion)) throws {
    try note(step.version, isWhole: false)
    let files = FileManager.default
    for old in try files.contentsOfDirectory(atPath: folder.path) where old != control.lastPathComponent {
      try files.removeItem(at: folder.appendingPathComponent(old))
    }
    for name in try files.contentsOfDirectory(atPath: step.folder.path) where name != PublishedVersion.fileName {
      try files.copyItem(at: step.folder.appendingPathComponent(name), to: folder.appendingPathComponent(name))
    }
    try note(step.version, isWhole: true)
  }

  private func apply(_ step: (folder: URL, version: PublishedVersion)) throws {
    let local = try WeightFiles(in: folder)
    // All are checked before any is changed.
    try forEachChange(step, local) { _, _, _ in }
    try note(step.version, isWhole: false)
    var descriptors: [String: Int32] = [:]
    defer { for descriptor in descriptors.values { close(descriptor) } }
    try forEachChange(step, local) { file, tensor, bytes in
      let path = file.url.path
      let descriptor = descriptors[path] ?? open(path, O_WRONLY | O_CLOEXEC)
      descriptors[path] = descriptor
      var written = 0
      while written < bytes.count {
        let count = bytes.withUnsafeBytes {
          pwrite(descriptor, $0.baseAddress! + written, $0.count - written, off_t(tensor.byteRange.lowerBound + written))
        }
        guard count > 0 else { throw WeightSyncError("\(path) cannot be changed: \(String(cString: strerror(errno)))") }
        written += count
      }
    }
    for (path, descriptor) in descriptors where fsync(descriptor) != 0 {
      throw WeightSyncError("\(path) cannot be brought to the disk: \(String(cString: strerror(errno)))")
    }
    try note(step.version, isWhole: true)
  }

  private func forEachChange(
    _ step: (folder: URL, version: PublishedVersion), _ local: WeightFiles,
    _ body: (SafetensorsFile, TensorDescription, [UInt8]) throws -> Void
  ) throws {
    let version = step.version
    guard let tensors = version.tensors, let encoding = version.deltaEncoding, let checksum = version.checksumFormat,
      version.compressionFormat == compressionFormat(of: encoding)
    else { throw WeightSyncError("\(step.folder.path) is a delta of a kind that this engine does not know") }
    var opened: [String: SafetensorsFile] = [:]
    for (name, change) in tensors.sorted(by: { $0.key < $1.key }) {
      guard let file = local.files.first(where: { $0[name] != nil }), let tensor = file[name], !change.file.contains("/") else {
        throw WeightSyncError("\(step.folder.path) changes '\(name)', which \(folder.path) does not hold")
      }
      let delta = try opened[change.file] ?? SafetensorsFile(step.folder.appendingPathComponent(change.file))
      opened[change.file] = delta
      let bytes = try encoding.apply(
        delta.bytes(of: name), to: file.bytes(of: tensor), elementSize: tensor.dtype.elementSize)
      guard bytes.withUnsafeBytes(checksum.of) == change.checksum else {
        throw WeightSyncError(
          "'\(name)' would not have its \(checksum.rawValue) checksum: \(step.folder.path) or \(folder.path) is damaged")
      }
      try body(file, tensor, bytes)
    }
  }
}

/// What `DeltaEncoding` writes.
func compressionFormat(of encoding: DeltaEncoding) -> String { encoding == .xor ? "zero-runs" : "none" }
