import Torch

/// Some learned parameters of a model, each split over the ranks of a group: what FSDP gathers at once before use and whose
/// gradients it reduce-scatters at once after (Zhao et al., "PyTorch FSDP", 2023; FSDP2's sharding by parameter).
public final class ShardedUnit {
  public let parameters: [ShardedParameter]
  /// This rank's rows of every parameter, one after another, as they are trained.
  public let master: MasterWeights
  /// Its `values`: the leaf of the graph.
  public let shard: Tensor
  /// Of the shard, summed over the group: fp32 or bf16; nil: none yet.
  public var gradient: Tensor?
  /// Whether other ranks hold other experts than these.
  public let holdsDividedExperts: Bool
  let group: ProcessGroup
  private let device: Device
  private let computeType: DType
  private let gradientType: DType
  /// Whether whole weights have memory of their own; otherwise they are the shard itself.
  private let copies: Bool
  /// All whole parameters one after another, in the compute type; without storage while sharded.
  private let memory: Tensor
  /// Each parameter's part of it. Autograd does not notice when they are filled again.
  private let wholes: [Tensor]
  private var state = State.sharded
  /// Told what happens, for tests and profiles.
  var observer: ((ShardingStep) -> Void)?

  private enum State {
    case sharded
    /// All ranks' shards are on their way. `[ranks · shard length]`
    case gathering(Work, Tensor)
    case whole
  }

  init(
    _ parameters: [Parameter], holdsDividedExperts: Bool, options: FullyShardedModel.Options, parallel: ParallelContext
  ) {
    let group = holdsDividedExperts ? parallel.expertData : parallel.shard
    let (device, computeType, offloads) = (parallel.device, options.computeType, options.offloadsToHost)
    (self.group, self.device, self.computeType) = (group, device, computeType)
    (self.holdsDividedExperts, gradientType) = (holdsDividedExperts, options.precision.gradients)
    var offset = 0
    self.parameters = parameters.map { parameter in
      let sharded = ShardedParameter(parameter, rankCount: group.size, offset: offset)
      offset += sharded.length
      return sharded
    }
    let isSplit = options.precision.keepsRemainders && computeType == .bfloat16
    let home = offloads ? .cpu : device
    let zeros = Tensor.zeros([offset], dtype: isSplit ? .bfloat16 : .float32, device: home)
    let shard = offloads && device.kind == .cuda ? zeros.pinned() : zeros
    self.shard = shard
    shard.requiresGrad = true
    master = MasterWeights(shard.detached(), remainders: isSplit ? .zeros([offset], dtype: .int16, device: home) : nil)
    copies = group.size > 1 || computeType != shard.dtype || offloads
    let count = parameters.reduce(0) { $0 + $1.count }
    let memory = copies ? Tensor.empty([count], dtype: computeType, device: device) : shard.detached()
    var start = 0
    wholes = parameters.map { parameter in
      defer { start += parameter.count }
      return memory[start..<start + parameter.count].view(parameter.shape).uncounted()
    }
    self.memory = memory
    if copies { memory.emptyStorage() }
  }

  /// Elements of a rank's shard.
  private var length: Int { shard.count }
  /// Numbers in the whole parameters.
  private var count: Int { memory.count }

  /// Bytes that the whole weights, or shards on their way to become them, take now.
  var gatheredByteCount: Int {
    guard copies else { return 0 }
    if case .gathering(_, let shards) = state { return shards.byteCount }
    return memory.storageByteCount
  }

  // MARK: Trained values

  /// Fills this rank's rows from whole parameters.
  func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    try withoutGradients {
      for sharded in parameters {
        let rows = sharded.rows(of: group.rank)
        if !rows.isEmpty { master[sharded.range(of: group.rank)].take(try value(sharded.parameter)[rows]) }
      }
    }
  }

  /// This rank's rows of each parameter in a vector laid out as the shard (the weights, a moment), as views.
  public func rows(in vector: Tensor) -> [(parameter: ShardedParameter, rows: Range<Int>, values: Tensor)] {
    parameters.map { ($0, $0.rows(of: group.rank), $0.rows(of: group.rank, in: vector)) }
  }

  /// Each parameter whole and in fp32, on the device; of weights in two parts what is computed with.
  func whole() -> [(Parameter, Tensor)] {
    withoutGradients {
      let all = shard.detached().to(device: device).gathered(from: group).view([group.size, length])
      return parameters.map { sharded in
        let whole = Tensor.empty(sharded.parameter.shape, device: device)
        for place in sharded.places(in: whole, and: all) { place.whole.copy_(place.shards) }
        return (sharded.parameter, whole)
      }
    }
  }

  // MARK: Gathering

  /// Sends for the whole weights and returns at once. All ranks must do so in the same order.
  func startGather() {
    guard copies, group.size > 1, case .sharded = state else { return }
    withoutGradients {
      let own = shard.detached().to(device: device, nonBlocking: true).to(dtype: computeType)
      let shards = Tensor.empty([group.size * length], dtype: computeType, device: device)
      state = .gathering(group.startAllGather(own, into: shards), shards)
    }
    observer?(.gathering)
  }

  /// Makes the weights whole.
  func gather() {
    guard copies else { return }
    startGather()
    withoutGradients {
      switch state {
      case .whole: return
      case .gathering(let work, let shards):
        work.wait()
        memory.refillStorage(bytes: count * computeType.size)
        let rows = shards.view([group.size, length])
        let places = zip(parameters, wholes).flatMap { $0.places(in: $1, and: rows) }
        Tensor.foreachCopy_(places.map(\.whole), src: places.map(\.shards), nonBlocking: true)
      case .sharded:
        memory.refillStorage(bytes: count * computeType.size)
        memory.copy_(shard.detached(), nonBlocking: true)
      }
      state = .whole
      observer?(.whole)
    }
  }

  /// Frees the whole weights; what autograd has saved of them is there again after the next `gather`.
  func free() {
    guard copies else { return }
    switch state {
    case .sharded: return
    case .gathering(let work, _): work.wait()
    case .whole: memory.emptyStorage()
    }
    state = .sharded
    observer?(.freed)
  }

  // MARK: Use

  /// Lets the parameters stand for the whole weights.
  /// - Parameter gradients: told the parameters' gradients in the backward pass, when nothing needs the weights anymore.
  func lend(_ gradients: @escaping ([Tensor?]) -> Void) {
    var lent = wholes
    if gradientsEnabled {
      lent = Tensor.function("ShardedParameters", inputs: [shard]) { [wholes] in
        wholes.map { $0.uncounted() }
      } backward: {
        gradients($0)
        // It reaches the shard when it has been reduced.
        return [nil]
      }
    }
    for (parameter, tensor) in zip(parameters, lent) { parameter.parameter.tensor = tensor }
  }

  /// Takes the parameters' weights back.
  func reclaim() {
    for parameter in parameters.map(\.parameter) {
      parameter.tensor = .empty(parameter.shape, dtype: computeType, device: .meta)
    }
  }

  // MARK: Gradients

  /// The sum of gradients over the ranks, on its way.
  struct Reduction {
    fileprivate let work: Work?
    fileprivate let own: Tensor
  }

  /// Sends whole gradients to the ranks that hold the rows, where they are summed, and returns at once.
  func startReduction(_ gradients: [Tensor?]) -> Reduction {
    withoutGradients {
      let isComplete = gradients.allSatisfy { $0 != nil } && length * group.size == count
      let all: Tensor = isComplete
        ? .empty([length * group.size], dtype: gradientType, device: device)
        : .zeros([length * group.size], dtype: gradientType, device: device)
      let rows = all.view([group.size, length])
      let places = zip(parameters, gradients).flatMap { parameter, gradient in
        gradient.map { parameter.places(in: $0.contiguous(), and: rows) } ?? []
      }
      Tensor.foreachCopy_(places.map(\.shards), src: places.map(\.whole), nonBlocking: true)
      observer?(.reducing)
      guard group.size > 1 else { return Reduction(work: nil, own: all) }
      let own = Tensor.empty([length], dtype: gradientType, device: device)
      return Reduction(work: group.startReduceScatter(all, into: own), own: own)
    }
  }

  /// Waits for a sum and adds it to the shard's gradient.
  func finish(_ reduction: Reduction) {
    withoutGradients {
      reduction.work?.wait()
      let own = reduction.own.to(device: shard.device)
      if let gradient { gradient.add_(own) } else { gradient = own }
    }
    observer?(.reduced)
  }

  /// Starts to sum the gradient that has added up over other copies of the weights.
  func startReduction(over replicas: ProcessGroup) -> Reduction? {
    guard let gradient else { return nil }
    // In place, but for gradients on the host.
    let moved = gradient.to(device: device)
    return Reduction(work: replicas.startAllReduce(moved), own: moved)
  }

  func finishReductionOverReplicas(_ reduction: Reduction) {
    reduction.work?.wait()
    gradient = reduction.own.to(device: shard.device)
  }
}

/// What happens to a unit of sharded weights.
package enum ShardingStep: Sendable, Equatable {
  /// The weights were sent for, are whole, and are gone.
  case gathering, whole, freed
  /// The gradients were sent, and have been summed.
  case reducing, reduced
}
