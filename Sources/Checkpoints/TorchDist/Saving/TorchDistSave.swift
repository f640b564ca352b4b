import Foundation

/// The save of one checkpoint in Megatron's layout, `iter_0000100/` and the tracker, from its first file to its last.
///
/// 1. The coordinator calls `begin`; after a barrier the other ranks call `join`.
/// 2. Every rank calls `write`, or `startWriting` and, later, waits for its result.
/// 3. The coordinator gathers all ranks' `RankContents` and calls `finish`, or `startFinishing`.
///
/// Until `finish` ends, everything lies in `iter_0000100.partial`, and the previous checkpoint is the one to continue
/// from, whatever fails or dies.
public struct TorchDistSave: Sendable {
  public let directory: CheckpointDirectory
  public let iteration: Int
  /// The coordinator's.
  private let partial: PartialFolder?

  /// Where files are written.
  public var folder: URL { PartialFolder.url(for: directory.folder(iteration: iteration)) }

  private init(_ directory: CheckpointDirectory, _ iteration: Int, _ partial: PartialFolder?) {
    (self.directory, self.iteration, self.partial) = (directory, iteration, partial)
  }

  /// The coordinator's beginning: makes the folder, in place of what an interrupted save left.
  public static func begin(in directory: CheckpointDirectory, iteration: Int) throws -> TorchDistSave {
    TorchDistSave(directory, iteration, try directory.begin(iteration: iteration))
  }

  /// The other ranks' beginning, after the coordinator's.
  public static func join(_ directory: CheckpointDirectory, iteration: Int) -> TorchDistSave {
    TorchDistSave(directory, iteration, nil)
  }

  /// Writes a rank's items and returns when they are on the disk.
  public func write(_ items: [SaveItem], rank: Int, fileCount: Int = 1) throws -> RankContents {
    try TorchDistWriter(folder: folder, rank: rank, fileCount: fileCount).write(items)
  }

  /// Writes a rank's items on a thread of its own while the caller goes on; errors come at the wait. The copies are freed
  /// when all are written.
  public func startWriting(_ staged: StagedItems, rank: Int, fileCount: Int = 1) -> BackgroundTask<RankContents> {
    BackgroundTask("save \(iteration)") { try write(staged.items, rank: rank, fileCount: fileCount) }
  }

  /// The coordinator's end, with what every rank wrote: the descriptions, the folder's name, and the tracker.
  public func finish(_ contents: [RankContents], common: PickleValue) throws {
    guard let partial else { throw CheckpointError(folder, "only the rank that began this save can finish it") }
    let metadata = try TorchDistMetadata(
      merging: contents, checkpointID: directory.folder(iteration: iteration).path,
      saveID: UUID().uuidString.lowercased())
    try MegatronFormat.writeCommon(common, to: folder)
    try MegatronFormat.writeDescription(to: folder)
    try metadata.write(to: folder)
    try partial.commit()
    try directory.record(iteration: iteration)
  }

  /// As `finish`, on a thread of its own.
  public func startFinishing(_ contents: [RankContents], common: PickleValue) -> BackgroundTask<Void> {
    BackgroundTask("save \(iteration)") { try finish(contents, common: common) }
  }

  /// Gives the save up and removes what was written. The coordinator's.
  public func discard() { partial?.discard() }
}
