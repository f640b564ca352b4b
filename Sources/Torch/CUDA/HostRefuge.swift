/// Tensors of a GPU that give their memory back for a time and come back to it with what they held, at the rate at which the
/// host and the GPU can copy.
public final class HostRefuge {
  private let kept: [Tensor]
  private let forgotten: [Tensor]
  /// Pinned; made when they are first needed, and not given back.
  private var copies: [Tensor] = []
  public private(set) var isUsed = false
  /// Where the tensors lie once they have come back.
  private var region: DeviceRegion?
  private let storages: StorageLayout

  /// - Parameters:
  ///   - kept: each with a storage of its own; what is not on a GPU is left alone.
  ///   - forgotten: come back as zeros.
  public init(_ kept: [Tensor], forgetting forgotten: [Tensor] = []) {
    func onGPU(_ tensors: [Tensor]) -> [Tensor] { tensors.filter { $0.device.kind == .cuda && $0.count > 0 }.map { $0.detached() } }
    (self.kept, self.forgotten) = (onGPU(kept), onGPU(forgotten))
    storages = StorageLayout(of: self.kept + self.forgotten)
  }

  public func leave() throws {
    guard !isUsed, let device = (kept + forgotten).first?.device else { return }
    try catchingTorchErrors {
      withoutGradients {
        if copies.isEmpty { copies = kept.map { .emptyPinned($0.shape, dtype: $0.dtype) } }
        for (copy, tensor) in zip(copies, kept) { copy.copy_(tensor, nonBlocking: true) }
        Runtime.synchronize(device)
        if region == nil { for tensor in kept + forgotten { tensor.emptyStorage() } }
      }
      try region?.empty()
    }
    try DeviceMemory.emptyCache()
    isUsed = true
  }

  public func comeBack() throws {
    guard isUsed, let device = (kept + forgotten).first?.device else { return }
    try catchingTorchErrors {
      try takeMemory(on: device)
      withoutGradients {
        for (copy, tensor) in zip(copies, kept) { tensor.copy_(copy, nonBlocking: true) }
        for tensor in forgotten { _ = tensor.zero_() }
        Runtime.synchronize(device)
      }
    }
    isUsed = false
  }

  /// All at once, which the driver gives sooner than many pieces; where it cannot, each for itself.
  private func takeMemory(on device: Device) throws {
    if let region { return try region.refill() }
    guard let region = try? DeviceRegion(byteCount: storages.byteCount, on: device) else {
      for tensor in kept + forgotten { tensor.refillStorage(bytes: tensor.byteCount) }
      return
    }
    storages.move(to: try region.bytes())
    self.region = region
  }
}
