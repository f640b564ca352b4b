import CTorch

/// Memory of a GPU, in bytes.
public struct DeviceMemory: Sendable, Equatable {
  /// What the driver still has to give, to any process.
  public let free: Int
  public let total: Int
  /// Held by tensors of this process, now and at most since the last reset.
  public let allocated: Int
  public let peakAllocated: Int
  /// Held by libtorch's allocator, tensors included.
  public let reserved: Int

  /// - Throws: `TorchError` where our GPU library is not open.
  public static func of(_ device: Device) throws -> DeviceMemory {
    var memory = ct_memory()
    _ = try CUDALibrary.call { $0.memory(Int32(device.index), &memory) }
    return DeviceMemory(
      free: Int(memory.free), total: Int(memory.total), allocated: Int(memory.allocated),
      peakAllocated: Int(memory.peak_allocated), reserved: Int(memory.reserved))
  }

  /// Starts `peakAllocated` again from what is allocated now.
  public static func resetPeak(of device: Device) throws {
    try CUDALibrary.call { $0.reset_peak_memory(Int32(device.index)) }
  }

  /// Gives back to the driver what libtorch's allocator holds without need.
  public static func emptyCache() throws { try CUDALibrary.call { $0.empty_cache() } }
}
