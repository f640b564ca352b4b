import Torch

/// A model's weights as sharded units: one for what lies outside the blocks (embedding, final norm, head), which stays
/// whole through a forward and backward pass, and one a block, whole around its use only.
///
/// While a block computes, the weights of the next one in the pass's direction are on their way; no more than two
/// blocks' weights are ever gathered. All ranks issue their collectives in the same order.
public final class FullyShardedModel: BlockRunner {
  public struct Options: Sendable, Equatable {
    /// Of weights and activations; trained values and the summation of gradients are fp32.
    public var computeType = DType.float32
    /// Run each block again in the backward pass instead of keeping its activations.
    public var gradientCheckpointing = false
    /// Keep shards and gradients (and so the optimizer) in host memory; whole weights are on the device.
    public var offloadsToHost = false

    public init() {}
  }

  public let root: ShardedUnit
  public let blocks: [ShardedUnit]
  /// The ranks that one copy of the weights is spread over, and those that hold the same part of other copies.
  public let group: ProcessGroup
  public let replicas: ProcessGroup
  private let checkpointing: Bool
  private let device: Device
  /// Gradients on their way, those of one unit at most.
  private var reduction: (unit: ShardedUnit, sum: ShardedUnit.Reduction)?

  /// - Parameters:
  ///   - root: parameters outside the blocks.
  ///   - blocks: parameters of each block, in the order of their use.
  public init(root: [Parameter], blocks: [[Parameter]], options: Options, parallel: ParallelContext) {
    (group, replicas, device) = (parallel.shard, parallel.replicas, parallel.device)
    checkpointing = options.gradientCheckpointing
    func unit(_ parameters: [Parameter]) -> ShardedUnit {
      ShardedUnit(
        parameters, group: parallel.shard, device: parallel.device, computeType: options.computeType,
        offloads: options.offloadsToHost)
    }
    (self.root, self.blocks) = (unit(root), blocks.map(unit))
  }

  public var units: [ShardedUnit] { [root] + blocks }
  /// The trained leaves, in the same order on every rank.
  public var shards: [Tensor] { units.map(\.shard) }

  /// Told what happens to which unit (0: the root; n: block n − 1), for tests and profiles.
  package func observe(_ observer: @escaping (_ unit: Int, ShardingStep) -> Void) {
    for (index, unit) in units.enumerated() { unit.observer = { observer(index, $0) } }
  }

  // MARK: Passes

  /// Runs any number of passes with the root's weights in place.
  public func withRoot<R>(_ body: () throws -> R) rethrows -> R {
    root.startGather()
    blocks.first?.startGather()
    root.gather()
    defer { for unit in units { unit.free() } }
    return try body()
  }

  /// One forward pass and, inside `body`, its backward. Its gradients are in the shards at the end.
  public func pass<R>(_ body: () throws -> R) rethrows -> R {
    root.lend { [self] in reduce(root, $0) }
    defer {
      root.reclaim()
      finishReduction()
    }
    return try body()
  }

  public func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor {
    let index = blocks.lowerBound
    let unit = self.blocks[index]
    /// With the block's weights in place, and the next one's under way.
    func inPlace(_ input: Tensor, next: Int) -> Tensor {
      gather(index, next: next)
      unit.lend { [self] in
        reduce(unit, $0)
        unit.free()
      }
      defer { unit.reclaim() }
      return body(input)
    }
    // The last block of a forward pass is the first of the backward: its weights stay.
    let staysWhole = gradientsEnabled && index == self.blocks.count - 1
    if gradientsEnabled, checkpointing {
      var isForward = true
      defer { isForward = false }
      return Tensor.checkpoint("CheckpointedBlock", input: input, parameters: [unit.shard]) { input in
        defer { if isForward, !staysWhole { unit.free() } }
        return inPlace(input, next: isForward ? index + 1 : index - 1)
      }
    }
    let output = inPlace(input, next: index + 1)
    if !staysWhole { unit.free() }
    guard gradientsEnabled, unit.copies else { return output }
    // What autograd has saved of the weights is there again when the backward comes to this block.
    return Tensor.function("GatherAgain", input: output, forward: { output.detached() }) { [self] gradient in
      gather(index, next: index - 1)
      return gradient
    }
  }

  /// Makes a block's weights whole and sends for those of the next one.
  private func gather(_ index: Int, next: Int) {
    blocks[index].gather()
    if blocks.indices.contains(next) { blocks[next].startGather() }
  }

  // MARK: Gradients

  private func reduce(_ unit: ShardedUnit, _ gradients: [Tensor?]) {
    finishReduction()
    reduction = (unit, unit.startReduction(gradients))
  }

  private func finishReduction() {
    guard let (unit, sum) = reduction else { return }
    reduction = nil
    unit.finish(sum)
  }

  /// Sums the gradients over all copies of the weights: once a step, since sums of sums are sums.
  public func reduceOverReplicas() {
    guard replicas.size > 1 else { return }
    withoutGradients {
      let sums = units.map { ($0, $0.startReduction(over: replicas)) }
      for (unit, sum) in sums { if let sum { unit.finishReductionOverReplicas(sum) } }
    }
  }

  /// The norm of all gradients, over all ranks' shards.
  public func gradientNorm() -> Double {
    withoutGradients {
      let gradients = shards.compactMap(\.grad)
      guard !gradients.isEmpty else { return 0 }
      let squares = Tensor.stack(Tensor.foreachNorm(gradients)).square().sum().to(device: device)
      group.allReduce(squares)
      return squares.sqrt().item()
    }
  }
}
