/// Tensors of a GPU that give their memory back for a time and come back to it with what they held, while the GPU works on what
/// does not need them.
///
/// Nobody waits for the copies before `settle`: just after an inference engine has let go of tens of gigabytes they come at half
/// the rate of the bus.
public final class HostRefuge {
  private let kept: [Tensor]
  private let forgotten: [Tensor]
  /// Pinned; made when they are first needed, and not given back.
  private var copies: [Tensor] = []
  public private(set) var isUsed = false
  /// Where the tensors lie once they have come back.
  private var region: DeviceRegion?
  private let storages: StorageLayout
  /// What comes back is copied on it.
  private var stream: CUDAStream?
  /// Bytes of a copy: others' small ones get through between two.
  private static let pieceSize = 32 << 20

  /// - Parameters:
  ///   - kept: contiguous, each with a storage of its own; what is not on a GPU is left alone.
  ///   - forgotten: come back as zeros.
  public init(_ kept: [Tensor], forgetting forgotten: [Tensor] = []) {
    func onGPU(_ tensors: [Tensor]) -> [Tensor] {
      tensors.filter { $0.device.kind == .cuda && $0.count > 0 }.map { $0.detached() }
    }
    (self.kept, self.forgotten) = (onGPU(kept), onGPU(forgotten))
    storages = StorageLayout(of: self.kept + self.forgotten)
  }

  public func leave() throws {
    guard !isUsed, let device = (kept + forgotten).first?.device else { return }
    try settle()
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

  /// Takes memory again, and starts to fill it. What was forgotten may be used at once, what was kept after `settle`.
  public func comeBack() throws {
    guard isUsed, let device = (kept + forgotten).first?.device else { return }
    let stream = try self.stream ?? .fromPool(device)
    self.stream = stream
    try catchingTorchErrors {
      try takeMemory(on: device)
      try withoutGradients {
        try stream.wait(for: .current(device))
        try stream.use {
          for (copy, tensor) in zip(copies, kept) { fill(tensor, from: copy) }
        }
        for tensor in forgotten { _ = tensor.zero_() }
      }
    }
    isUsed = false
  }

  /// What the calling thread queues from now on finds the tensors as they were.
  public func settle() throws {
    if let stream { try CUDAStream.current(stream.device).wait(for: stream) }
  }

  private func fill(_ tensor: Tensor, from copy: Tensor) {
    let (to, from) = (tensor.view([tensor.count]), copy.view([copy.count]))
    let step = Self.pieceSize / tensor.dtype.size
    for start in stride(from: 0, to: tensor.count, by: step) {
      let piece = start..<min(start + step, tensor.count)
      to[piece].copy_(from[piece], nonBlocking: true)
    }
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
