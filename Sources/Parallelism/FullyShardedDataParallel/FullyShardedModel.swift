import Torch

/// A model's weights, sharded in parts: what lies outside the blocks (embedding, final norm, head), which stays whole
/// through forward and backward passes, and each block, whole around its use only.
///
/// While a block computes, the weights of the next one in the pass's direction are on their way; no more than two
/// blocks' weights are ever gathered. All ranks issue their collectives in the same order.
public final class FullyShardedModel: BlockRunner {
  public struct Options: Sendable, Equatable {
    /// Of weights and activations.
    public var computeType = DType.float32
    /// Of trained values and the summation of gradients.
    public var precision = OptimizerPrecision()
    /// Run each block again in the backward pass instead of keeping its activations.
    public var gradientCheckpointing = false
    /// Keep shards and gradients (and so the optimizer) in host memory; whole weights are on the device.
    public var offloadsToHost = false

    public init() {}
  }

  public let root: ShardedPart
  public let blocks: [ShardedPart]
  private let parallel: ParallelContext
  private let checkpointing: Bool
  /// How many of the blocks the passes at hand run, the first ones.
  private var usedCount: Int
  /// Gradients on their way, those of one unit at most.
  private var reduction: (unit: ShardedUnit, sum: ShardedUnit.Reduction)?

  /// - Parameters:
  ///   - root: parameters outside the blocks.
  ///   - blocks: parameters of each block, in the order of their use.
  public init(root: [Parameter], blocks: [[Parameter]], options: Options, parallel: ParallelContext) {
    (self.parallel, checkpointing) = (parallel, options.gradientCheckpointing)
    func part(_ parameters: [Parameter]) -> ShardedPart { ShardedPart(parameters, options: options, parallel: parallel) }
    (self.root, self.blocks, usedCount) = (part(root), blocks.map(part), blocks.count)
  }

  public var parts: [ShardedPart] { [root] + blocks }
  public var units: [ShardedUnit] { parts.flatMap(\.units) }
  /// The trained leaves, in the same order on every rank.
  public var shards: [Tensor] { units.map(\.shard) }
  /// All that the model computes with, as this rank holds it, in memory that stays in place.
  public var weights: [Tensor] { shards + parts.flatMap(\.constants).map(\.tensor) }

  public var runsAgain: Bool { checkpointing }

  /// Told what happens to which part (0: the root; n: block n − 1), for tests and profiles.
  package func observe(_ observer: @escaping (_ part: Int, ShardingStep) -> Void) {
    for (index, part) in parts.enumerated() {
      for unit in part.units { unit.observer = { observer(index, $0) } }
    }
  }

  // MARK: Passes

  /// Runs any number of passes with the root's weights in place.
  /// - Parameter count: how many of the blocks they run, the first ones; nil: all.
  public func withRoot<R>(blocks count: Int? = nil, _ body: () throws -> R) rethrows -> R {
    usedCount = count ?? blocks.count
    root.startGather()
    blocks.first?.startGather()
    root.gather()
    defer { for part in parts { part.free() } }
    return try body()
  }

  /// One forward pass and, inside `body`, its backward. Its gradients are in the shards at the end.
  public func pass<R>(_ body: () throws -> R) rethrows -> R {
    root.lend(reduce)
    defer {
      root.reclaim()
      finishReduction()
    }
    return try body()
  }

  public func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor {
    let index = blocks.lowerBound
    let block = self.blocks[index]
    /// With the block's weights in place, and the next one's under way.
    func inPlace(_ input: Tensor, next: Int) -> Tensor {
      gather(index, next: next)
      block.lend { [self] unit, gradients in
        reduce(unit, gradients)
        unit.free()
      }
      defer { block.reclaim() }
      return body(input)
    }
    // The last block of a forward pass is the first of the backward: its weights stay.
    let staysWhole = gradientsEnabled && index == usedCount - 1
    if gradientsEnabled, checkpointing {
      var isForward = true
      defer { isForward = false }
      return Tensor.checkpoint("CheckpointedBlock", input: input, parameters: block.units.map(\.shard)) { input in
        defer { if isForward, !staysWhole { block.free() } }
        return inPlace(input, next: isForward ? index + 1 : index - 1)
      }
    }
    let output = inPlace(input, next: index + 1)
    if !staysWhole { block.free() }
    guard gradientsEnabled else { return output }
    // What autograd has saved of the weights is there again when the backward comes to this block.
    return Tensor.function("GatherAgain", input: output, forward: { output.detached() }) { [self] gradient in
      gather(index, next: index - 1)
      return gradient
    }
  }

  /// Makes a block's weights whole and sends for those of the next one.
  private func gather(_ index: Int, next: Int) {
    blocks[index].gather()
    if (0..<usedCount).contains(next) { blocks[next].startGather() }
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
    guard parallel.replicas.size > 1 else { return }
    withoutGradients {
      // Divided experts have no copies: they are spread over all ranks that hold the same ones.
      let sums = units.filter { !$0.holdsDividedExperts }.map { ($0, $0.startReduction(over: parallel.replicas)) }
      for (unit, sum) in sums { if let sum { unit.finishReductionOverReplicas(sum) } }
    }
  }

  /// The norm of all gradients, over all ranks' shards.
  public func gradientNorm() -> Double {
    withoutGradients {
      func squares(_ units: [ShardedUnit]) -> Tensor {
        Tensor.sumOfSquares(units.compactMap(\.gradient), device: parallel.device)
      }
      let total = squares(units.filter { !$0.holdsDividedExperts })
      parallel.shard.allReduce(total)
      guard parallel.expert.size > 1 else { return total.sqrt().item() }
      let ofExperts = squares(units.filter(\.holdsDividedExperts))
      for group in [parallel.expertData, parallel.expert] { group.allReduce(ofExperts) }
      return (total + ofExperts).sqrt().item()
    }
  }
}
