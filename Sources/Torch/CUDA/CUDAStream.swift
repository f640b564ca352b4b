import CTorch

/// A queue of work on a GPU; what is queued on one runs in order.
public struct CUDAStream: Sendable, Equatable {
  private let id: Int64
  public let device: Device

  private init(_ stream: ct_stream) { (id, device) = (stream.id, .cuda(Int(stream.device_index))) }

  fileprivate var stream: ct_stream { ct_stream(id: id, device_index: Int32(device.index)) }

  /// The one that operators of the calling thread queue on.
  public static func current(_ device: Device) throws -> CUDAStream {
    CUDAStream(try CUDALibrary.call { $0.current_stream(Int32(device.index)) })
  }

  /// One of libtorch's pool, handed out in turn.
  public static func fromPool(_ device: Device, highPriority: Bool = false) throws -> CUDAStream {
    CUDAStream(try CUDALibrary.call { $0.pool_stream(Int32(device.index), highPriority) })
  }

  /// Runs `body` with this as the calling thread's current stream.
  public func use<R>(_ body: () throws -> R) throws -> R {
    let before = try CUDAStream.current(device)
    try CUDALibrary.call { $0.set_current_stream(stream) }
    let result = Result { try body() }
    try CUDALibrary.call { $0.set_current_stream(before.stream) }
    return try result.get()
  }

  /// Returns when all that is queued is done.
  public func synchronize() throws { try CUDALibrary.call { $0.synchronize_stream(stream) } }

  /// What is queued from now on waits for `event`.
  public func wait(for event: borrowing CUDAEvent) throws {
    let handle = event.handle
    try CUDALibrary.call { $0.wait_event(handle, stream) }
  }

  /// What is queued from now on waits for all that is queued on `other`.
  public func wait(for other: CUDAStream) throws {
    let mark = try CUDAEvent()
    try mark.record(on: other)
    try wait(for: mark)
  }

  /// Keeps the memory of `tensor`, made on another stream, until what is queued here is done.
  public func keep(_ tensor: Tensor) throws {
    try withExtendedLifetime(tensor) { try CUDALibrary.call { $0.record_stream(tensor.handle, stream) } }
  }
}

/// A mark in a stream.
public struct CUDAEvent: ~Copyable {
  fileprivate let handle: ct_event

  /// - Parameter timed: whether `milliseconds(since:)` may be asked; costs a little.
  public init(timed: Bool = false) throws {
    guard let handle = try CUDALibrary.call({ $0.event(timed) }) else { throw TorchError("no CUDA event could be made") }
    self.handle = handle
  }

  deinit { ct_cuda()?.pointee.release_event(handle) }

  /// Sets the mark after all that is queued on `stream`.
  public func record(on stream: CUDAStream) throws {
    let handle = handle
    try CUDALibrary.call { $0.record_event(handle, stream.stream) }
  }

  /// Returns when the stream has come to the mark.
  public func synchronize() throws {
    let handle = handle
    try CUDALibrary.call { $0.synchronize_event(handle) }
  }

  /// Whether the stream has come to the mark.
  public func isDone() throws -> Bool {
    let handle = handle
    return try CUDALibrary.call { $0.event_is_done(handle) }
  }

  /// The time from `start`'s mark to this one, both timed and done.
  public func milliseconds(since start: borrowing CUDAEvent) throws -> Double {
    let (first, last) = (start.handle, handle)
    return try CUDALibrary.call { $0.milliseconds_between(first, last) }
  }
}
