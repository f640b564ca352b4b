import CTorch

/// A tensor on its way to host memory, while what is queued after it goes on.
public final class HostCopy {
  private let copy: Tensor
  /// Marks the end of the copy; nil: it is there.
  private let mark: Mark?

  private final class Mark {
    let event: CUDAEvent
    init(on stream: CUDAStream) throws {
      event = try CUDAEvent()
      try event.record(on: stream)
    }
  }

  /// Starts the copy, after what the calling thread has queued.
  public init(_ tensor: Tensor) throws {
    guard tensor.isDefined, tensor.device.kind == .cuda, Runtime.hasStreams else {
      (copy, mark) = (tensor.to(device: .cpu), nil)
      return
    }
    if Kernels.transfers(tensor) {
      copy = .emptyPinned(tensor.shape, dtype: tensor.dtype)
      Kernels.transfer(tensor.detached(), to: copy)
    } else {
      copy = tensor.detached().to(device: .cpu, nonBlocking: true)
    }
    mark = try Mark(on: .current(tensor.device))
  }

  /// The tensor in host memory; waits until it is there.
  public func tensor() throws -> Tensor {
    try mark?.event.synchronize()
    return copy
  }
}

extension Runtime {
  /// Whether streams and events can be used: our GPU library is open.
  public static var hasStreams: Bool { ct_cuda() != nil }
}

extension Tensor {
  /// A copy in host memory, from a GPU at full speed: it is there when the device has done what is queued.
  public func copiedToHost(dtype: DType? = nil) -> Tensor {
    let dtype = dtype ?? self.dtype
    guard device.kind == .cuda else { return to(dtype: dtype, device: .cpu, copy: true).contiguous() }
    let copy = Tensor.emptyPinned(shape, dtype: dtype)
    copy.copy_(detached().to(dtype: dtype).contiguous(), nonBlocking: true)
    return copy
  }

  /// A host tensor's copy on a device. Unlike `to(device:)` it does not wait until what is queued there is done.
  public func sent(to device: Device) -> Tensor {
    device.kind == .cuda ? pinned().to(device: device, nonBlocking: true) : to(device: device)
  }
}
