import CTorch

/// Addresses on a GPU where memory comes and goes: whatever names them (views, recorded graphs) stays valid, and is used only
/// while memory is there.
public final class DeviceRegion: @unchecked Sendable {
  public let device: Device
  public let byteCount: Int
  public private(set) var isFilled = false
  private let start: UnsafeMutableRawPointer

  /// - Throws: `TorchError` where the device has no such memory left, or the driver cannot do it.
  public init(byteCount: Int, on device: Device) throws {
    var rounded = byteCount
    let start = try CUDALibrary.call { $0.reserve_region(Int32(device.index), &rounded) }
    guard let start else { throw TorchError("\(byteCount) bytes of addresses on \(device) cannot be reserved") }
    (self.device, self.byteCount, self.start) = (device, rounded, start)
    try refill()
  }

  deinit {
    guard let functions = ct_cuda()?.pointee else { return }
    // Nobody is left to hear of an error.
    _ = isolatingTorchError {
      if isFilled { functions.empty_region(Int32(device.index), start, byteCount) }
      functions.release_region(start, byteCount)
    }
  }

  /// Gives the memory back, and what it held is lost.
  public func empty() throws {
    guard isFilled else { return }
    try CUDALibrary.call { $0.empty_region(Int32(device.index), start, byteCount) }
    isFilled = false
  }

  /// Takes memory again, as it is found.
  /// - Throws: `TorchError` where the device has none left.
  public func refill() throws {
    guard !isFilled else { return }
    try CUDALibrary.call { $0.fill_region(Int32(device.index), start, byteCount) }
    isFilled = true
  }

  /// All of it as a row, which keeps it. `[byteCount]`, uint8
  public func bytes() throws -> Tensor {
    let context = Unmanaged.passRetained(self).toOpaque()
    return try CUDALibrary.call { functions in
      Tensor(
        owned: functions.from_device_memory(
          start, Int64(byteCount), Int32(device.index), { Unmanaged<DeviceRegion>.fromOpaque($0!).release() }, context))
    }
  }
}
