import Inference
import Torch

/// Some weights side by side in shared memory, as the trainer hands them to an engine.
///
/// The memory is the trainer's: it can be opened until the `WeightExporter` that filled it lets it go.
public struct WeightBucket: Sendable, Equatable, Codable {
  public struct Entry: Sendable, Equatable, Codable {
    /// The name in the checkpoint.
    public var name: String
    public var dtype: DType
    public var shape: [Int]
    /// Where its bytes begin.
    public var offset: Int
  }

  public var path: String
  public var byteCount: Int
  public var entries: [Entry]

  /// Tensors begin at multiples of this.
  private static let alignment = 64

  /// Puts weights into as few buckets as fit; a bucket holds more than `byteLimit` bytes only for a single tensor.
  static func fill(
    _ weights: [(name: String, tensor: Tensor)], byteLimit: Int
  ) throws -> [(bucket: WeightBucket, memory: SharedMemory)] {
    var buckets: [(bucket: WeightBucket, memory: SharedMemory)] = []
    var first = 0
    while first < weights.count {
      var entries: [Entry] = []
      var end = 0
      for (name, tensor) in weights[first...] {
        let offset = (end + alignment - 1) / alignment * alignment
        let bytes = tensor.byteCount
        guard entries.isEmpty || offset + bytes <= byteLimit else { break }
        entries.append(Entry(name: name, dtype: tensor.dtype, shape: tensor.shape, offset: offset))
        end = offset + bytes
      }
      let memory = try SharedMemory.make(byteCount: end)
      let bucket = WeightBucket(path: memory.path, byteCount: end, entries: entries)
      for (view, weight) in zip(bucket.views(of: memory), weights[first...]) {
        withoutGradients { _ = view.tensor.copy_(weight.tensor) }
      }
      buckets.append((bucket, memory))
      first += entries.count
    }
    return buckets
  }

  /// The bucket's weights as views of the shared memory, which they keep.
  public func open() throws -> [NamedTensor] { views(of: try SharedMemory.open(path, byteCount: byteCount)) }

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
