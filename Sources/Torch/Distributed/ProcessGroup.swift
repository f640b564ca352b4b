import CTorch

/// The raw values are those of `c10d::ReduceOp`.
public enum Reduction: Int32, Sendable {
  case sum = 0
  case average = 1
  case product = 2
  case minimum = 3
  case maximum = 4
}

/// Ranks that work together, seen from one of them.
///
/// Every collective has a deadline; its failure is a torch error that names group, operation and rank. A group of one
/// rank needs no transport. Every rank must call the same collectives in the same order.
public final class ProcessGroup {
  public let name: String
  /// This rank's place in the group.
  public let rank: Int
  public let size: Int
  public let timeout: Duration
  private let handle: ct_group?

  private init(name: String, rank: Int, size: Int, timeout: Duration, handle: ct_group?) {
    (self.name, self.rank, self.size, self.timeout, self.handle) = (name, rank, size, timeout, handle)
  }

  deinit { if let handle { ct_group_release(handle) } }

  /// A group of one.
  public static func single(_ name: String = "single") -> ProcessGroup {
    ProcessGroup(name: name, rank: 0, size: 1, timeout: .seconds(0), handle: nil)
  }

  /// A group over Gloo (CPU tensors); returns when every rank is there.
  /// - Parameter host: the address of the interface that this rank listens on.
  public static func gloo(
    _ name: String, store: Store, rank: Int, size: Int, host: String = "127.0.0.1", timeout: Duration = .seconds(600)
  ) throws -> ProcessGroup {
    guard size > 1 else { return .single(name) }
    let own = try store.prefixed(name)
    let handle = withExtendedLifetime(own) {
      ct_gloo_group(own.handle, Int32(rank), Int32(size), host, timeout.milliseconds)
    }
    guard let handle else {
      throw TorchError(
        "rank \(rank) of \(size) could not join group '\(name)' within \(timeout): \(takeTorchError()?.description ?? "")")
    }
    return ProcessGroup(name: name, rank: rank, size: size, timeout: timeout, handle: handle)
  }

  // MARK: Collectives. Each `start…` returns at once; the other form waits.

  /// Reduces `tensor` over all ranks, in place.
  public func startAllReduce(_ tensor: Tensor, _ reduction: Reduction = .sum) -> Work {
    start("all_reduce", [tensor]) { ct_all_reduce($0, tensor.handle, reduction.rawValue, timeout.milliseconds) }
  }

  /// `output` is the ranks' `input`s one after another along dimension 0.
  public func startAllGather(_ input: Tensor, into output: Tensor) -> Work {
    guard handle != nil else { return copy(input, output) }
    return start("all_gather", [input, output]) {
      ct_all_gather($0, output.handle, input.handle, timeout.milliseconds)
    }
  }

  /// `output` is this rank's share, along dimension 0, of the reduction of all ranks' `input`s.
  public func startReduceScatter(_ input: Tensor, into output: Tensor, _ reduction: Reduction = .sum) -> Work {
    guard handle != nil else { return copy(input, output) }
    return start("reduce_scatter", [input, output]) {
      ct_reduce_scatter($0, output.handle, input.handle, reduction.rawValue, timeout.milliseconds)
    }
  }

  /// Sends rows of `input` to each rank and receives rows from each into `output`; splits are row counts by rank,
  /// equal where empty.
  public func startAllToAll(
    _ input: Tensor, into output: Tensor, inputSplits: [Int] = [], outputSplits: [Int] = []
  ) -> Work {
    guard handle != nil else { return copy(input, output) }
    return start("all_to_all", [input, output]) { group in
      withInts(outputSplits) { outputs in
        withInts(inputSplits) {
          ct_all_to_all(group, output.handle, input.handle, outputs, $0, timeout.milliseconds)
        }
      }
    }
  }

  public func startBroadcast(_ tensor: Tensor, from root: Int) -> Work {
    start("broadcast", [tensor]) { ct_broadcast($0, tensor.handle, Int32(root), timeout.milliseconds) }
  }

  public func startSend(_ tensor: Tensor, to destination: Int, tag: Int = 0) -> Work {
    start("send", [tensor]) { ct_send($0, tensor.handle, Int32(destination), Int32(tag)) }
  }

  public func startReceive(_ tensor: Tensor, from source: Int, tag: Int = 0) -> Work {
    start("receive", [tensor]) { ct_receive($0, tensor.handle, Int32(source), Int32(tag)) }
  }

  public func allReduce(_ tensor: Tensor, _ reduction: Reduction = .sum) { startAllReduce(tensor, reduction).wait() }
  public func allGather(_ input: Tensor, into output: Tensor) { startAllGather(input, into: output).wait() }
  public func reduceScatter(_ input: Tensor, into output: Tensor, _ reduction: Reduction = .sum) {
    startReduceScatter(input, into: output, reduction).wait()
  }
  public func allToAll(_ input: Tensor, into output: Tensor, inputSplits: [Int] = [], outputSplits: [Int] = []) {
    startAllToAll(input, into: output, inputSplits: inputSplits, outputSplits: outputSplits).wait()
  }
  public func broadcast(_ tensor: Tensor, from root: Int) { startBroadcast(tensor, from: root).wait() }
  public func send(_ tensor: Tensor, to destination: Int, tag: Int = 0) { startSend(tensor, to: destination, tag: tag).wait() }
  public func receive(_ tensor: Tensor, from source: Int, tag: Int = 0) {
    startReceive(tensor, from: source, tag: tag).wait()
  }
  public func barrier() { start("barrier", []) { ct_barrier($0, timeout.milliseconds) }.wait() }

  private func copy(_ input: Tensor, _ output: Tensor) -> Work {
    withoutGradients { _ = output.copy_(input.view(output.shape)) }
    return Work(nil, describing: "", tensors: [], timeout: timeout)
  }

  private func start(_ operation: String, _ tensors: [Tensor], _ body: (ct_group) -> ct_work?) -> Work {
    let place = "\(operation) in group '\(name)' on rank \(rank) of \(size)"
    guard let handle else { return Work(nil, describing: place, tensors: [], timeout: timeout) }
    guard let work = withExtendedLifetime(tensors, { body(handle) }) else {
      raiseTorchError("\(place) failed: \(takeTorchError()?.description ?? "")")
      return Work(nil, describing: place, tensors: [], timeout: timeout)
    }
    return Work(work, describing: place, tensors: tensors, timeout: timeout)
  }
}

/// A collective under way. It keeps its tensors until it is waited for.
public final class Work {
  private let handle: ct_work?
  private let place: String
  private let tensors: [Tensor]
  private let timeout: Duration

  fileprivate init(_ handle: ct_work?, describing place: String, tensors: [Tensor], timeout: Duration) {
    (self.handle, self.place, self.tensors, self.timeout) = (handle, place, tensors, timeout)
  }

  deinit { if let handle { ct_work_release(handle) } }

  public var isCompleted: Bool { handle.map { ct_work_is_completed($0) } ?? true }

  /// Returns when the collective is done (on a GPU: when the current stream waits for it).
  public func wait() {
    guard let handle else { return }
    let done = withExtendedLifetime(self) { ct_work_wait(handle, timeout.milliseconds) }
    if !done { raiseTorchError("\(place) failed (deadline \(timeout)): \(takeTorchError()?.description ?? "no reason given")") }
  }
}
