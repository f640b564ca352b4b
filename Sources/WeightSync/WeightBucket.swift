import Inference
import Torch

/// Some weights side by side, as a trainer's rank 0 has them for an engine.
public struct WeightBucket: Sendable, Equatable, Codable {
  public struct Entry: Sendable, Equatable, Codable {
    /// The name in the checkpoint.
    public var name: String
    public var dtype: DType
    public var shape: [Int]
    /// Where its bytes begin.
    public var offset: Int
  }

  public enum Place: Sendable, Equatable, Codable {
    /// In memory that others of the machine can open until the `WeightExporter` that filled it lets it go.
    case shared(path: String)
    /// In rank 0's own, which broadcasts it by its number. The checksum is that of its bytes, without gaps.
    case waiting(number: Int, checksum: String)
  }

  public var place: Place
  public var byteCount: Int
  public var entries: [Entry]

  /// Tensors in shared memory begin at multiples of this.
  private static let alignment = 64

  /// Divides weights into as few buckets as fit; a bucket holds more than `byteLimit` bytes only for a single tensor.
  static func divided(
    _ weights: [(name: String, tensor: Tensor)], byteLimit: Int, alignment: Int
  ) -> [(entries: [Entry], byteCount: Int, weights: ArraySlice<(name: String, tensor: Tensor)>)] {
    var buckets: [(entries: [Entry], byteCount: Int, weights: ArraySlice<(name: String, tensor: Tensor)>)] = []
    var first = 0
    while first < weights.count {
      var entries: [Entry] = []
      var end = 0
      for (name, tensor) in weights[first...] {
        let offset = (end + alignment - 1) / alignment * alignment
        guard entries.isEmpty || offset + tensor.byteCount <= byteLimit else { break }
        entries.append(Entry(name: name, dtype: tensor.dtype, shape: tensor.shape, offset: offset))
        end = offset + tensor.byteCount
      }
      buckets.append((entries, end, weights[first..<first + entries.count]))
      first += entries.count
    }
    return buckets
  }

  /// Puts weights into shared memory.
  static func fill(
    _ weights: [(name: String, tensor: Tensor)], byteLimit: Int
  ) throws -> [(bucket: WeightBucket, memory: SharedMemory)] {
    try divided(weights, byteLimit: byteLimit, alignment: alignment).map { entries, byteCount, weights in
      let memory = try SharedMemory.make(byteCount: byteCount)
      let bucket = WeightBucket(place: .shared(path: memory.path), byteCount: byteCount, entries: entries)
      for (view, weight) in zip(bucket.views(of: memory), weights) {
        withoutGradients { _ = view.tensor.copy_(weight.tensor) }
      }
      return (bucket, memory)
    }
  }

  /// The bucket's weights as views of the shared memory, which they keep.
  /// - Throws: `WeightSyncError` where it is gone, or was to be broadcast.
  public func open() throws -> [NamedTensor] {
    guard case .shared(let path) = place else { throw WeightSyncError("A weight bucket that waits for its broadcast is in no shared memory.") }
    return views(of: try SharedMemory.open(path, byteCount: byteCount))
  }

  private func views(of memory: SharedMemory) -> [NamedTensor] {
    entries.map { entry in
      NamedTensor(
        entry.name,
        Tensor(borrowing: memory.base + entry.offset, shape: entry.shape, dtype: entry.dtype) {
          withExtendedLifetime(memory) {}
        })
    }
  }
}
