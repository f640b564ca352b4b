import CTorch
import Synchronization

/// Memory of a GPU that several processes of one machine see (CUDA IPC).
///
/// It lies outside libtorch's allocator. Whoever opened it lets it go before the process that made it does.
public final class SharedDeviceMemory: @unchecked Sendable {
  public static let handleSize = 64

  public let device: Device
  public let byteCount: Int
  /// What other processes open it by.
  public let handle: [UInt8]
  private let address: UnsafeMutableRawPointer
  private let isOwn: Bool
  /// What this process made, by its handle: CUDA does not open memory where it was made.
  private static let own = Mutex<[[UInt8]: Weak]>([:])

  private struct Weak: @unchecked Sendable {
    weak var memory: SharedDeviceMemory?
  }

  /// Whether our GPU library is open, without which there is none.
  public static var isAvailable: Bool { ct_cuda() != nil }

  private init(_ device: Device, _ byteCount: Int, _ handle: [UInt8], _ address: UnsafeMutableRawPointer, isOwn: Bool) {
    (self.device, self.byteCount, self.handle, self.address, self.isOwn) = (device, byteCount, handle, address, isOwn)
  }

  deinit {
    if isOwn { Self.own.withLock { $0[handle] = nil } }
    guard let functions = ct_cuda()?.pointee else { return }
    // Nobody is left to hear of an error.
    _ = isolatingTorchError {
      isOwn
        ? functions.release_shared_memory(Int32(device.index), address)
        : functions.close_shared_memory(Int32(device.index), address)
    }
  }

  /// Fresh memory.
  /// - Throws: `TorchError` where the device has none left.
  public static func make(byteCount: Int, on device: Device) throws -> SharedDeviceMemory {
    var handle = [UInt8](repeating: 0, count: handleSize)
    let address = try CUDALibrary.call { $0.shared_memory(Int32(device.index), byteCount, &handle) }
    guard let address else { throw TorchError("\(byteCount) bytes on \(device) cannot be shared") }
    let memory = SharedDeviceMemory(device, byteCount, handle, address, isOwn: true)
    own.withLock { $0[handle] = Weak(memory: memory) }
    return memory
  }

  /// Memory that another process, or this one, made on `device`.
  /// - Throws: `TorchError` where it is gone.
  public static func open(_ handle: [UInt8], byteCount: Int, on device: Device) throws -> SharedDeviceMemory {
    guard handle.count == handleSize else { throw TorchError("a handle of shared memory has \(handleSize) bytes, not \(handle.count)") }
    if let memory = own.withLock({ $0[handle]?.memory }) { return memory }
    let address = try CUDALibrary.call { $0.open_shared_memory(Int32(device.index), handle) }
    guard let address else { throw TorchError("shared memory on \(device) cannot be opened") }
    return SharedDeviceMemory(device, byteCount, handle, address, isOwn: false)
  }

  /// It as a row, which keeps it. `[byteCount]`, uint8
  public func bytes() throws -> Tensor {
    let context = Unmanaged.passRetained(self).toOpaque()
    return try CUDALibrary.call { functions in
      Tensor(
        owned: functions.from_device_memory(
          address, Int64(byteCount), Int32(device.index),
          { Unmanaged<SharedDeviceMemory>.fromOpaque($0!).release() }, context))
    }
  }
}
