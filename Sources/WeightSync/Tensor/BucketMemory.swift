import Foundation
import Torch

/// Memory for buckets of weights that processes of one machine see: of a GPU (CUDA IPC) for weights that lie on one, so that
/// they never come to the host; else shared memory of the host.
///
/// Of the host, it is gone when the last process that holds it ends, however it ends.
public final class BucketMemory {
  /// How another process finds it.
  public struct Address: Sendable, Hashable, Codable {
    enum Place: Sendable, Hashable, Codable {
      case host(path: String)
      case device(Device, handle: [UInt8])
    }

    var place: Place
    var byteCount: Int
    /// Paths and handles come again; this does not.
    var id: UUID
  }

  let address: Address
  /// All of it, as one row. `[byteCount]`, uint8
  let bytes: Tensor

  var byteCount: Int { address.byteCount }

  /// Fresh memory for weights on a device.
  static func make(byteCount: Int, for device: Device) throws -> BucketMemory {
    guard device.kind == .cuda, SharedDeviceMemory.isAvailable else {
      let memory = try SharedMemory.make(byteCount: byteCount)
      return BucketMemory(.host(path: memory.path), byteCount, UUID(), memory)
    }
    let memory = try SharedDeviceMemory.make(byteCount: byteCount, on: device)
    return try BucketMemory(.device(device, handle: memory.handle), byteCount, UUID(), memory)
  }

  /// The memory of another process, which must hold it still.
  static func open(_ address: Address) throws -> BucketMemory {
    switch address.place {
    case .host(let path):
      BucketMemory(address.place, address.byteCount, address.id, try SharedMemory.open(path, byteCount: address.byteCount))
    case .device(let device, let handle):
      try BucketMemory(
        address.place, address.byteCount, address.id,
        SharedDeviceMemory.open(handle, byteCount: address.byteCount, on: device))
    }
  }

  private init(_ place: Address.Place, _ byteCount: Int, _ id: UUID, _ memory: SharedMemory) {
    address = Address(place: place, byteCount: byteCount, id: id)
    bytes = Tensor(borrowing: memory.base, shape: [byteCount], dtype: .uint8) { withExtendedLifetime(memory) {} }
  }

  private init(_ place: Address.Place, _ byteCount: Int, _ id: UUID, _ memory: SharedDeviceMemory) throws {
    address = Address(place: place, byteCount: byteCount, id: id)
    bytes = try memory.bytes()
  }
}
