import CTorch

/// Work on a GPU that was queued once and is queued again as a whole, at the cost of one launch.
///
/// Its tensors stay where they are: what it reads must be written in place before `replay`, and what it gives is there
/// until the next replay of a graph that shares its memory.
public final class CUDAGraph {
  private let handle: ct_graph

  /// Records what `body` queues, on a stream of its own, without running it.
  /// - Parameter sharing: a graph whose memory this one may use too; the two must take turns.
  public init(on device: Device, sharing: CUDAGraph? = nil, _ body: () throws -> Void) throws {
    let stream = try CUDAStream.fromPool(device)
    // What was queued before must not move into the recording.
    try CUDAStream.current(device).synchronize()
    let shared = sharing?.handle
    handle = try stream.use {
      guard let handle = try CUDALibrary.call({ $0.graph_begin(shared) }) else { throw TorchError("no CUDA graph was begun") }
      let result = Result(catching: body)
      do {
        try CUDALibrary.call { $0.graph_end(handle) }
        try result.get()
      } catch {
        try? CUDALibrary.call { $0.graph_release(handle) }
        throw error
      }
      return handle
    }
  }

  deinit { ct_cuda()?.pointee.graph_release(handle) }

  /// Queues the work on the calling thread's current stream.
  public func replay() throws { try CUDALibrary.call { $0.graph_replay(handle) } }
}
