import Inference
import Torch

/// Slices of weights side by side in memory that another process of this machine can read.
///
/// The memory is the sender's: it can be read until the sender fills it again, lets it go or, where it is the weights' own,
/// steps them.
public struct SliceBucket: Sendable, Equatable, Codable {
  public struct Entry: Sendable, Equatable, Codable {
    public var shard: WeightShard
    /// Where its bytes begin.
    public var offset: Int
  }

  public var memory: BucketMemory.Address
  /// Of the slices.
  public var byteCount: Int
  /// Of these bytes (see `checksum(of:)`); nil: they are the weights themselves, which were copied nowhere.
  public var checksum: String?
  public var entries: [Entry]

  /// Slices begin at multiples of this.
  private static let alignment = 64

  static func aligned(_ offset: Int) -> Int { (offset + alignment - 1) / alignment * alignment }

  /// Bytes that these slices take.
  static func byteCount(of shards: [WeightShard]) -> Int { shards.reduce(0) { aligned($0) + $1.byteCount } }

  /// Puts slices into memory that is large enough.
  /// - Parameter values: a slice's values, of any type.
  static func fill(
    _ shards: [WeightShard], into memory: BucketMemory, values: (WeightShard) throws -> Tensor
  ) throws -> SliceBucket {
    var entries: [Entry] = []
    var end = 0
    for shard in shards {
      entries.append(Entry(shard: shard, offset: aligned(end)))
      end = aligned(end) + shard.byteCount
    }
    return try catchingTorchErrors {
      try withoutGradients {
        let flat = memory.bytes[0..<end]
        for entry in entries { view(entry, of: flat).copy_(try values(entry.shard), nonBlocking: true) }
        let checksum = checksum(of: flat)
        Runtime.synchronize(flat.device)
        return SliceBucket(memory: memory.address, byteCount: end, checksum: checksum, entries: entries)
      }
    }
  }

  /// The slices as views of memory in which this process sees the bucket.
  /// - Throws: `WeightSyncError` where the bytes are not those that were sent.
  func slices(in memory: BucketMemory) throws -> [WeightSlice] {
    let end = entries.map { $0.offset + $0.shard.byteCount }.max() ?? 0
    guard entries.allSatisfy({ $0.offset >= 0 && $0.offset % $0.shard.dtype.size == 0 && $0.shard.byteCount >= 0 }),
      end <= byteCount, byteCount <= memory.byteCount
    else { throw WeightSyncError("A weight bucket of \(byteCount) bytes cannot hold the slices that it lists.") }
    return try catchingTorchErrors {
      try withoutGradients {
        let flat = memory.bytes[0..<byteCount]
        if let checksum {
          let found = Self.checksum(of: flat)
          guard found == checksum else {
            throw WeightSyncError("The weight bucket has the checksum \(found), not \(checksum): it was damaged on its way.")
          }
        }
        return entries.map { WeightSlice($0.shard, Self.view($0, of: flat)) }
      }
    }
  }

  private static func view(_ entry: Entry, of flat: Tensor) -> Tensor {
    flat[entry.offset..<entry.offset + entry.shard.byteCount].viewing(entry.shard.dtype).view(entry.shard.box.sizes)
  }

  /// XXH64 of bytes in host memory; for those on a GPU, of the sums of their rows and columns as 64-bit numbers, 1024 in a
  /// row, which are computed there.
  static func checksum(of bytes: Tensor) -> String {
    guard bytes.device.kind == .cuda else { return bytes.withBytes { XXHash64.hex($0) } }
    let rowBytes = 1024 * 8
    let whole = bytes.count / rowBytes * rowBytes
    var sums: [UInt8] = bytes[whole..<bytes.count].withBytes { Array($0) }
    if whole > 0 {
      let rows = bytes[0..<whole].viewing(.int64).view([whole / rowBytes, 1024])
      for dimension in [0, 1] { sums += rows.sum([dimension], dtype: .int64).withBytes { Array($0) } }
    }
    return sums.withUnsafeBytes { XXHash64.hex($0) }
  }
}
