import Inference
import Torch

/// The weights of a trainer's rank in memory that engines of this machine read where it is: nothing is held twice, and no
/// bucket is filled.
public struct SharedWeights {
  private let memory: BucketMemory
  /// What lies where. The numbers change when the weights are stepped.
  public let bucket: SliceBucket

  /// Takes weights into such memory: whoever computes with them finds them there from then on.
  /// - Parameter held: views of storages that stay as long as this does.
  /// - Returns: nil where they have to go through buckets: some lie elsewhere than on the device, or not in one piece, or there
  ///   is no room to move them.
  public init?(moving held: [WeightSlice], on device: Device) throws {
    guard device.kind == .cpu || SharedDeviceMemory.isAvailable else { return nil }
    let held = held.filter { !$0.shard.box.isEmpty }
    guard held.allSatisfy({ $0.tensor.device == device && $0.tensor.isContiguous }) else { return nil }
    let storages = StorageLayout(of: held.map(\.tensor))
    let byteCount = max(storages.byteCount, 1)
    guard let memory = try? BucketMemory.make(byteCount: byteCount, for: device) else { return nil }
    try catchingTorchErrors { storages.move(to: memory.bytes) }
    // What they lay in before.
    if device.kind == .cuda { try DeviceMemory.emptyCache() }
    let base = memory.bytes.address
    let entries = held.map { SliceBucket.Entry(shard: $0.shard, offset: $0.tensor.address - base) }
    bucket = SliceBucket(memory: memory.address, byteCount: byteCount, checksum: nil, entries: entries)
    self.memory = memory
  }
}
