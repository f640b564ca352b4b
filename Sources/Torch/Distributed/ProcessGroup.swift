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
  private let transport: Transport

  private enum Transport { case none, imagined, gloo, nccl }

  private init(name: String, rank: Int, size: Int, timeout: Duration, _ transport: Transport, handle: ct_group?) {
    (self.name, self.rank, self.size, self.timeout) = (name, rank, size, timeout)
    (self.transport, self.handle) = (transport, handle)
  }

  deinit { if let handle { ct_group_release(handle) } }

  /// A group of one.
  public static func single(_ name: String = "single") -> ProcessGroup {
    ProcessGroup(name: name, rank: 0, size: 1, timeout: .seconds(0), .none, handle: nil)
  }

  /// A place in a group that is not joined: for building, on the meta device, what another rank holds. Its collectives
  /// fail, but in an `ImaginedRun`, which counts what they would send.
  public static func imagined(_ name: String, rank: Int, size: Int) -> ProcessGroup {
    ProcessGroup(name: name, rank: rank, size: size, timeout: .seconds(0), .imagined, handle: nil)
  }

  /// A group over Gloo (CPU tensors); returns when every rank is there.
  /// - Parameter host: the address of the interface that this rank listens on.
  public static func gloo(
    _ name: String, store: Store, rank: Int, size: Int, host: String = "127.0.0.1", timeout: Duration = .seconds(600)
  ) throws -> ProcessGroup {
    try join(name, store: store, rank: rank, size: size, timeout: timeout, .gloo) {
      ct_gloo_group($0, Int32(rank), Int32(size), host, timeout.milliseconds)
    }
  }

  /// A group over NCCL (CUDA tensors), after `Runtime.openCUDA()`; the ranks meet in the first collective.
  ///
  /// The deadline is enforced by libtorch's watchdog: it ends the process with a message that names group, operation and
  /// rank.
  public static func nccl(
    _ name: String, store: Store, rank: Int, size: Int, device: Device, timeout: Duration = .seconds(600)
  ) throws -> ProcessGroup {
    guard size > 1 else { return .single(name) }
    let cuda = try CUDALibrary.opened()
    return try join(name, store: store, rank: rank, size: size, timeout: timeout, .nccl) {
      cuda.nccl_group($0, Int32(rank), Int32(size), Int32(device.index), name, timeout.milliseconds, false)
    }
  }

  /// A group whose other ranks PyTorch makes (`_new_process_group_helper` over a `PrefixStore` of the group's name, as
  /// SGLang's `init_custom_process_group` does): the ranks look for each other under the same keys.
  ///
  /// This process survives the others: over NCCL, whose work would wait for ever for a rank that is gone, whoever waits must ask
  /// `Work.isDone` and `abort` the group.
  /// - Parameters:
  ///   - device: a GPU for a group over NCCL, the CPU for one over Gloo.
  ///   - host: the address of the interface that this rank listens on.
  public static func likePyTorch(
    _ name: String, store: Store, rank: Int, size: Int, device: Device, host: String, timeout: Duration
  ) throws -> ProcessGroup {
    let own = try store.prefixed(name).prefixed("\(name)/").prefixed(device.kind == .cuda ? "cuda/" : "cpu/")
    if device.kind == .cuda {
      let cuda = try CUDALibrary.opened()
      return try join(name, in: own, rank: rank, size: size, timeout: timeout, .nccl) {
        cuda.nccl_group($0, Int32(rank), Int32(size), Int32(device.index), name, timeout.milliseconds, true)
      }
    }
    return try join(name, in: own, rank: rank, size: size, timeout: timeout, .gloo) {
      ct_gloo_group($0, Int32(rank), Int32(size), host, timeout.milliseconds)
    }
  }

  private static func join(
    _ name: String, store: Store, rank: Int, size: Int, timeout: Duration, _ transport: Transport,
    _ body: (ct_store) -> ct_group?
  ) throws -> ProcessGroup {
    let group = try join(
      name, in: size > 1 ? store.prefixed(name) : store, rank: rank, size: size, timeout: timeout, transport, body)
    // A rank of Gloo is done when it is connected itself; were it to leave at once, the others could not connect.
    if group.transport == .gloo {
      do { try catchingTorchErrors(group.barrier) } catch {
        throw TorchError("rank \(rank) of \(size) could not join group '\(name)' within \(timeout): \(error)")
      }
    }
    return group
  }

  private static func join(
    _ name: String, in store: Store, rank: Int, size: Int, timeout: Duration, _ transport: Transport,
    _ body: (ct_store) -> ct_group?
  ) throws -> ProcessGroup {
    guard (0..<size).contains(rank) else {
      throw TorchError("rank \(rank) cannot be in group '\(name)' of \(size); ranks go from 0 to \(size - 1)")
    }
    guard size > 1 else { return .single(name) }
    ct_turn_flight_recorder_off()
    let handle = try withExtendedLifetime(store) {
      try requireHandle(orThrow: { "rank \(rank) of \(size) could not join group '\(name)' within \(timeout): \($0)" }) {
        body(store.handle)
      }
    }
    return ProcessGroup(name: name, rank: rank, size: size, timeout: timeout, transport, handle: handle)
  }

  /// Ends what the group is at, also where other ranks are gone; it is of no use afterwards.
  public func abort() {
    guard let handle else { return }
    _ = withExtendedLifetime(self) { isolatingTorchError { ct_group_abort(handle) } }
  }

  // MARK: Collectives on contiguous tensors. Each `start…` returns at once, and its result is there after the work's
  // `wait`; the other form waits.

  /// Reduces `tensor` over all ranks, in place.
  public func startAllReduce(_ tensor: Tensor, _ reduction: Reduction = .sum) -> Work {
    start("all_reduce", [tensor], averaging: reduction == .average ? tensor : nil) {
      ct_all_reduce($0, $1[0].handle, self.native(reduction).rawValue, timeout.milliseconds)
    }
  }

  /// `output` is the ranks' `input`s one after another along dimension 0.
  public func startAllGather(_ input: Tensor, into output: Tensor) -> Work {
    guard size > 1 else { return copy(input, output) }
    return start("all_gather", movingBytes([input, output])) {
      ct_all_gather($0, $1[1].handle, $1[0].handle, timeout.milliseconds)
    }
  }

  /// `output` is this rank's share, along dimension 0, of the reduction of all ranks' `input`s.
  public func startReduceScatter(_ input: Tensor, into output: Tensor, _ reduction: Reduction = .sum) -> Work {
    guard size > 1 else { return copy(input, output) }
    return start("reduce_scatter", [input, output], averaging: reduction == .average ? output : nil) {
      ct_reduce_scatter($0, $1[1].handle, $1[0].handle, self.native(reduction).rawValue, timeout.milliseconds)
    }
  }

  /// Sends rows of `input` to each rank and receives rows from each into `output`; splits are row counts by rank,
  /// equal where empty.
  public func startAllToAll(
    _ input: Tensor, into output: Tensor, inputSplits: [Int] = [], outputSplits: [Int] = []
  ) -> Work {
    guard size > 1 else { return copy(input, output) }
    let rows = inputSplits.isEmpty ? input.size(0) * (size - 1) / size : inputSplits.reduce(0, +) - inputSplits[rank]
    return start("all_to_all", movingBytes([input, output]), sending: rows) { group, tensors in
      withInts(outputSplits) { outputs in
        withInts(inputSplits) {
          ct_all_to_all(group, tensors[1].handle, tensors[0].handle, outputs, $0, timeout.milliseconds)
        }
      }
    }
  }

  public func startBroadcast(_ tensor: Tensor, from root: Int) -> Work {
    start("broadcast", movingBytes([tensor])) { ct_broadcast($0, $1[0].handle, Int32(root), timeout.milliseconds) }
  }

  public func startSend(_ tensor: Tensor, to destination: Int, tag: Int = 0) -> Work {
    start("send", movingBytes([tensor])) { ct_send($0, $1[0].handle, Int32(destination), Int32(tag)) }
  }

  public func startReceive(_ tensor: Tensor, from source: Int, tag: Int = 0) -> Work {
    start("receive", movingBytes([tensor])) { ct_receive($0, $1[0].handle, Int32(source), Int32(tag)) }
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
  public func barrier() { start("barrier", []) { group, _ in ct_barrier(group, timeout.milliseconds) }.wait() }

  private func copy(_ input: Tensor, _ output: Tensor) -> Work {
    withoutGradients { _ = output.copy_(input.view(output.shape)) }
    return Work(nil, describing: "", tensors: [], timeout: timeout)
  }

  /// Gloo cannot average: it sums, and the work divides.
  private func native(_ reduction: Reduction) -> Reduction {
    transport == .gloo && reduction == .average ? .sum : reduction
  }

  /// Gloo knows few types; where nothing is computed, bytes do.
  private func movingBytes(_ tensors: [Tensor]) -> [Tensor] {
    guard transport == .gloo else { return tensors }
    return tensors.map { tensor in
      switch tensor.dtype {
      case .bool, .int8, .float8e4m3, .float8e5m2: tensor.detached().viewing(.uint8)
      case .int16: tensor.detached().viewing(.float16)
      default: tensor
      }
    }
  }

  private func start(
    _ operation: String, _ tensors: [Tensor], averaging result: Tensor? = nil, sending rows: Int? = nil,
    _ body: (ct_group, [Tensor]) -> ct_work?
  ) -> Work {
    let place = "\(operation) in group '\(name)' on rank \(rank) of \(size)"
    func failed(_ reason: String) -> Work {
      raiseTorchError("\(place) failed: \(reason)")
      return Work(nil, describing: place, tensors: [], timeout: timeout)
    }
    if transport == .imagined {
      guard let run = ImaginedRun.current else { return failed("nobody joined this group") }
      if let tensor = tensors.first { run.note(sentBytes(operation, tensor, rows: rows), to: self) }
      return Work(nil, describing: place, tensors: [], timeout: timeout)
    }
    guard let handle else { return Work(nil, describing: place, tensors: [], timeout: timeout) }
    for tensor in tensors where tensor.isDefined && !tensor.isContiguous {
      return failed("a tensor of shape \(tensor.shape) with strides \(tensor.strides) is not contiguous")
    }
    let (work, error) = withExtendedLifetime((self, tensors)) { isolatingTorchError { body(handle, tensors) } }
    guard let work else { return failed(error?.description ?? "no reason given") }
    // NCCL's wait is for the stream; with a time it would block the thread. Its watchdog has the deadline.
    return Work(
      work, describing: place, tensors: tensors, timeout: timeout, blocksThread: transport != .nccl,
      dividing: transport == .gloo ? result : nil, by: size)
  }
}

extension ProcessGroup {
  /// What a rank sends of `tensor` (its input), with rings where all ranks take part.
  private func sentBytes(_ operation: String, _ tensor: Tensor, rows: Int?) -> Double {
    let (bytes, others) = (Double(tensor.byteCount), Double(size - 1))
    return switch operation {
    case "all_reduce": 2 * bytes * others / Double(size)
    case "all_gather": bytes * others
    case "reduce_scatter": bytes * others / Double(size)
    case "all_to_all": bytes * Double(rows ?? 0) / Double(max(tensor.size(0), 1))
    case "receive": 0
    default: bytes
    }
  }
}

/// A collective under way. It keeps its tensors; what it has computed is there after `wait`.
public final class Work {
  private let handle: ct_work?
  private let place: String
  private let tensors: [Tensor]
  private let timeout: Duration
  private let blocksThread: Bool
  private var sum: Tensor?
  private let divisor: Int

  fileprivate init(
    _ handle: ct_work?, describing place: String, tensors: [Tensor], timeout: Duration, blocksThread: Bool = true,
    dividing sum: Tensor? = nil, by divisor: Int = 1
  ) {
    (self.handle, self.place, self.tensors, self.timeout) = (handle, place, tensors, timeout)
    (self.blocksThread, self.sum, self.divisor) = (blocksThread, sum, divisor)
  }

  deinit { if let handle { ct_work_release(handle) } }

  public var isCompleted: Bool {
    withExtendedLifetime(self) { handle.map { work in isolatingTorchError { ct_work_is_completed(work) }.0 } ?? true }
  }

  /// Whether the collective is done, on a GPU too.
  /// - Throws: `TorchError` where it failed.
  public func isDone() throws -> Bool {
    guard let handle else { return true }
    let (isDone, error) = withExtendedLifetime(self) { isolatingTorchError { ct_work_is_done(handle) } }
    if let error { throw TorchError("\(place) failed: \(error)") }
    return isDone
  }

  /// Returns when the collective is done (on a GPU: when the current stream waits for it).
  public func wait() {
    guard let handle else { return }
    let (done, error) = withExtendedLifetime(self) {
      isolatingTorchError { ct_work_wait(handle, blocksThread ? timeout.milliseconds : 0) }
    }
    guard done else {
      return raiseTorchError("\(place) failed (deadline \(timeout)): \(error?.description ?? "no reason given")")
    }
    if let sum { withoutGradients { _ = sum.div_(divisor) } }
    sum = nil
  }
}
