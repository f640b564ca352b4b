import Foundation
import Synchronization
import Torch

/// Writes what one rank holds into a checkpoint's folder, in files `__<rank>_<n>.distcp`, as PyTorch's
/// `FileSystemWriter` does: object after object and tensor after tensor, each as a `torch.save` archive.
public struct TorchDistWriter: Sendable {
  public let folder: URL
  public let rank: Int
  /// How many files the items are spread over, by size; they are written at the same time.
  public let fileCount: Int

  /// The folder must be there.
  public init(folder: URL, rank: Int, fileCount: Int = 1) {
    precondition(rank >= 0 && fileCount > 0, "rank \(rank) and \(fileCount) files")
    (self.folder, self.rank, self.fileCount) = (folder, rank, fileCount)
  }

  /// Writes the items and returns when they are on the disk. A tensor's bytes go from its memory to the file; one that
  /// is not contiguous on the CPU is copied there first, when its turn comes. Throws `CheckpointError`, and `TorchError`
  /// where such a copy fails.
  public func write(_ items: [SaveItem]) throws -> RankContents {
    try checkNames(items)
    let plans = try plan(items)
    let results = Mutex<[Result<[(Int, WrittenItem)], any Error>?]>(Array(repeating: nil, count: plans.count))
    // Each tensor is used by one of the threads only.
    nonisolated(unsafe) let shared = items
    DispatchQueue.concurrentPerform(iterations: plans.count) { number in
      let result = Result { try write(plans[number].map { ($0, shared[$0]) }, fileNumber: number) }
      results.withLock { $0[number] = result }
    }
    let written = try results.withLock { try $0.flatMap { try $0!.get() } }
    return RankContents(rank: rank, items: written.sorted { $0.0 < $1.0 }.map(\.1))
  }

  private func checkNames(_ items: [SaveItem]) throws {
    var seen: Set<PlannedItem.Key> = []
    for item in items {
      guard seen.insert(item.plan.key).inserted else {
        throw CheckpointError(
          "rank \(rank) was given '\(item.name)' twice; a name has one object, or one shard at each offset")
      }
    }
  }

  /// The items of each file, by number: objects in turn, then tensors from the largest on, each to the file that has
  /// least. With one file, all in the order given.
  private func plan(_ items: [SaveItem]) throws -> [[Int]] {
    var (objects, shards) = ([Int](), [Int]())
    for (i, item) in items.enumerated() {
      if case .object = item { objects.append(i) } else { shards.append(i) }
    }
    guard fileCount > 1 else { return items.isEmpty ? [] : [objects + shards] }
    var files = Array(repeating: [Int](), count: fileCount)
    for (k, i) in objects.enumerated() { files[k % fileCount].append(i) }
    let sizes = items.map(\.plan.byteCount)
    var totals = Array(repeating: 0, count: fileCount)
    for i in shards.sorted(by: { (-sizes[$0], $0) < (-sizes[$1], $1) }) {
      let least = totals.indices.min { (totals[$0], $0) < (totals[$1], $1) }!
      files[least].append(i)
      totals[least] += sizes[i]
    }
    return files.filter { !$0.isEmpty }
  }

  private func write(_ items: [(Int, SaveItem)], fileNumber: Int) throws -> [(Int, WrittenItem)] {
    let name = "__\(rank)_\(fileNumber).distcp"
    let url = folder.appendingPathComponent(name)
    let output = try FileOutput(creating: url)
    let written = try items.map { (i, item) in
      let start = output.position
      let (path, content, checksum) = try TorchFile.explaining(url) { try write(item, to: output) }
      let location = FileLocation(file: name, offset: start, length: output.position - start)
      return (i, WrittenItem(name: item.name, path: path, content: content, checksum: checksum, location: location))
    }
    try output.finish()
    return written
  }

  private func write(
    _ item: SaveItem, to output: any ByteOutput
  ) throws -> (path: [StateDictKey]?, content: WrittenItem.Content, checksum: UInt32) {
    switch item {
    case .object(let object):
      try output.append(object.bytes)
      return (object.path, .object, object.bytes.withUnsafeBytes { CRC32.checksum($0) })
    case .shard(let shard):
      let box = try shard.box()
      let dtype = shard.tensor.dtype
      let checksum = try catchingTorchErrors {
        try shard.tensor.withBytes { bytes in
          guard bytes.count == box.count * dtype.size else { return UInt32(0) }  // libtorch failed: the scope throws
          return try TorchArchiveWriter.write(dtype: dtype, shape: box.sizes, bytes, to: output)
        }
      }
      return (shard.path, .shard(dtype: dtype, globalShape: shard.globalShape, box: box), checksum)
    }
  }
}
