import Checkpoints
import Foundation
import Models
import Parallelism
import Synchronization
import Torch

/// The tensor-parallel ranks of an engine: the first on the engine's own thread, each other one on a thread of its own,
/// which does what the first does.
final class EngineRanks {
  typealias Command = @Sendable (ModelRunner) throws -> Void

  /// The first rank's.
  let runner: ModelRunner
  private let followers: [Follower]

  /// Loads every rank's part of the model.
  /// - Throws: what is wrong with the folder or the sizes.
  init(_ folder: HuggingFaceFolder, _ configuration: ModelConfiguration, _ options: EngineOptions) throws {
    let dtype = options.dtype ?? configuration.dtype ?? .float32
    if options.isDeterministic, options.device.kind == .cuda { try Runtime.prepareDeterministicCUDA() }
    guard options.tensorParallelSize > 1 else {
      guard options.expertParallelSize == 1 else {
        throw EngineError(
          "--ep-size \(options.expertParallelSize) divides the experts over an engine's ranks, of which there is one; "
            + "raise --tp-size to at least as many")
      }
      followers = []
      try Runtime.open(options.device, for: "an engine")
      var parallel = ParallelContext.single(options.device)
      parallel.isDeterministic = options.isDeterministic
      runner = try ModelRunner(folder, configuration, dtype: dtype, cacheType: options.cacheType, parallel: parallel)
      return
    }
    let layout = try options.layout()
    let store = try Store.inProcess()
    let make: @Sendable (Int) throws -> ModelRunner = { rank in
      let device = options.device(ofRank: rank)
      try Runtime.open(device, for: "rank \(rank) of an engine")
      var parallel = try ParallelContext(layout, rank: rank, device: device) { name, place, size in
        device.kind == .cuda
          ? try .nccl(name, store: store, rank: place, size: size, device: device, timeout: options.collectiveTimeout)
          : try .gloo(name, store: store, rank: place, size: size, timeout: options.collectiveTimeout)
      }
      parallel.isDeterministic = options.isDeterministic
      return try ModelRunner(folder, configuration, dtype: dtype, cacheType: options.cacheType, parallel: parallel)
    }
    followers = (1..<layout.worldSize).map { rank in Follower(rank) { try make(rank) } }
    let own = Result { try make(0) }
    for follower in followers { try follower.wait() }
    runner = try own.get()
  }

  deinit { for follower in followers { follower.queue.close() } }

  var count: Int { followers.count + 1 }

  /// Runs a command on every rank at once, and `first`, or the same, on the first; returns when all have.
  /// - Throws: what the first rank threw, or else what another did.
  func onEvery<Value>(_ command: @escaping Command, first: (ModelRunner) throws -> Value) throws -> Value {
    for follower in followers { follower.queue.post(always: true, command) }
    let result = Result { try first(runner) }
    let failures = followers.compactMap { follower in Result { try follower.wait() }.failure }
    let value = try result.get()
    if let failure = failures.first { throw failure }
    return value
  }

  /// The smallest of the ranks' numbers.
  func smallest(_ number: @escaping @Sendable (ModelRunner) throws -> Int) throws -> Int {
    let others = Mutex(Int.max)
    let own = try onEvery({ runner in
      let own = try number(runner)
      others.withLock { $0 = min($0, own) }
    }, first: number)
    return min(own, others.withLock { $0 })
  }

  func onEvery(_ command: @escaping Command) throws { try onEvery(command, first: command) }
}

/// A rank that follows the first.
private final class Follower: Sendable {
  let rank: Int
  let queue = CommandQueue<EngineRanks.Command>(capacity: 1)
  private let done = DispatchSemaphore(value: 0)
  private let failure = Mutex<(any Error)?>(nil)

  /// Starts its thread, where `make` is the first thing that is done.
  init(_ rank: Int, _ make: @escaping @Sendable () throws -> ModelRunner) {
    self.rank = rank
    let thread = Thread { [self] in withoutGradients { serve(make) } }
    thread.name = "engine rank \(rank)"
    thread.stackSize = 8 << 20
    thread.start()
  }

  private func serve(_ make: () throws -> ModelRunner) {
    let runner: ModelRunner
    do { runner = try make() } catch {
      failure.withLock { $0 = error }
      done.signal()
      return
    }
    done.signal()
    while true {
      let (commands, isClosed) = queue.take(wait: true)
      for command in commands {
        do { try catchingTorchErrors { try command(runner) } } catch { failure.withLock { $0 = error } }
        done.signal()
      }
      if isClosed { return }
    }
  }

  /// Waits until what it was given to do is done.
  func wait() throws {
    done.wait()
    let error = failure.withLock { failure in
      defer { failure = nil }
      return failure
    }
    if let error { throw error is EngineError || error is ModelError ? error : EngineError("rank \(rank): \(error)") }
  }
}

extension Result {
  fileprivate var failure: Failure? {
    if case .failure(let error) = self { error } else { nil }
  }
}

extension EngineOptions {
  /// - Throws: `EngineError` or `LayoutError` when the sizes contradict each other.
  package func layout() throws -> ParallelLayout {
    guard expertParallelSize >= 1, tensorParallelSize % expertParallelSize == 0 else {
      throw EngineError(
        "--ep-size \(expertParallelSize) does not divide --tp-size \(tensorParallelSize), the ranks of an engine; "
          + "choose one that does")
    }
    return try ParallelLayout(
      worldSize: tensorParallelSize, tensorParallelSize: tensorParallelSize, expertParallelSize: expertParallelSize,
      expertTensorParallelSize: tensorParallelSize / expertParallelSize)
  }

  func device(ofRank rank: Int) -> Device { device.kind == .cuda ? .cuda(device.index + rank) : device }
}
