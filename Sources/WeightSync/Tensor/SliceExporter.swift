import Inference
import Torch

/// What a `WeightSliceSource` does: fills buckets from what a rank holds. The memory of two buckets, filled in turn, is all
/// that it needs besides the weights.
public struct SliceExporter {
  private var buffers: [Int: BucketMemory] = [:]
  private let device: Device

  /// - Parameter device: where the weights lie, and buckets with them.
  public init(device: Device = .cpu) { self.device = device }

  /// - Parameters:
  ///   - buffer: which of the two is filled; what it held before must have been read.
  ///   - capacity: bytes of the largest bucket that this rank fills.
  ///   - values: a slice's values, of any type.
  public mutating func fill(
    _ shards: [WeightShard], buffer: Int, capacity: Int, values: (WeightShard) throws -> Tensor
  ) throws -> SliceBucket {
    let needed = max(capacity, SliceBucket.byteCount(of: shards))
    if buffers[buffer].map({ $0.byteCount < needed }) ?? true {
      buffers[buffer] = nil
      buffers[buffer] = try .make(byteCount: needed, for: device)
    }
    return try SliceBucket.fill(shards, into: buffers[buffer]!, values: values)
  }

  /// Gives the memory back.
  public mutating func release() { buffers = [:] }
}

/// What a `WeightTarget` does with buckets: keeps their memory mapped for as long as an update lasts.
public struct SliceImporter {
  private var opened: [BucketMemory.Address: BucketMemory] = [:]

  public init() {}

  /// The slices of some buckets, as views.
  /// - Throws: `WeightSyncError` where memory is gone, or does not hold what was sent.
  public mutating func slices(of buckets: [SliceBucket]) throws -> sending [WeightSlice] {
    var slices: [WeightSlice] = []
    for bucket in buckets {
      let memory = try opened[bucket.memory] ?? BucketMemory.open(bucket.memory)
      opened[bucket.memory] = memory
      slices += try bucket.slices(in: memory)
    }
    nonisolated(unsafe) let result = slices
    return result
  }

  /// Forgets the memory of an update that has ended.
  public mutating func close() { opened = [:] }
}
