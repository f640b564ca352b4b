import Torch

/// A model's weights as sharded units: one for what lies outside the blocks (embedding, final norm, head), which stays
/// gathered through a forward and backward, and one a block, gathered around its use only.
public final class FullyShardedModel: BlockRunner {
  public let root: ShardedUnit
  public let blocks: [ShardedUnit]
  /// The ranks that the weights are spread over.
  public let group: ProcessGroup
  private let checkpointing: Bool

  /// - Parameters:
  ///   - root: parameters outside the blocks.
  ///   - blocks: parameters of each block, in the model's order.
  ///   - computeType: the type of weights and activations; the trained values and the reduction are fp32.
  ///   - gradientCheckpointing: run each block again in the backward instead of keeping its activations.
  public init(
    root: [Parameter], blocks: [[Parameter]], group: ProcessGroup, device: Device, computeType: DType,
    gradientCheckpointing: Bool
  ) {
    self.group = group
    func unit(_ parameters: [Parameter]) -> ShardedUnit {
      ShardedUnit(parameters, group: group, device: device, computeType: computeType)
    }
    (self.root, self.blocks, checkpointing) = (unit(root), blocks.map(unit), gradientCheckpointing)
  }

  public var units: [ShardedUnit] { [root] + blocks }
  /// The trained leaves, in the same order on every rank.
  public var shards: [Tensor] { units.map(\.shard) }

  /// Runs a forward pass (and, inside `body`, its backward) with the root's weights in place.
  public func withRoot<R>(_ body: () throws -> R) rethrows -> R {
    root.lend(root.gathered())
    defer { root.reclaim() }
    return try body()
  }

  public func run(_ blocks: Range<Int>, input: Tensor, parameters: [Tensor], body: @escaping (Tensor) -> Tensor) -> Tensor {
    let unit = self.blocks[blocks.lowerBound]
    func whole(_ input: Tensor) -> Tensor {
      unit.lend(unit.gathered())
      defer { unit.reclaim() }
      return body(input)
    }
    guard gradientsEnabled, unit.gathersCopy || checkpointing else { return whole(input) }
    if checkpointing {
      return Tensor.checkpoint("CheckpointedBlock", input: input, parameters: [unit.shard], body: whole)
    }
    return freeingBetween(unit, input, body)
  }

  /// The block's weights are freed after the forward and gathered again, into the same storage, before its backward:
  /// what autograd has saved of them stays valid.
  private func freeingBetween(_ unit: ShardedUnit, _ input: Tensor, _ body: (Tensor) -> Tensor) -> Tensor {
    let full = unit.gathered()
    unit.lend(full)
    let storage = full.uncounted()
    let bytes = storage.storageByteCount
    // The gradient of the input is the last to be known: then the weights can go.
    let entering = Tensor.function("FreeParameters", input: input, forward: { input.detached().clone() }) { gradient in
      storage.emptyStorage()
      return gradient
    }
    let output = body(entering)
    unit.reclaim()
    let leaving = Tensor.function("RegatherParameters", input: output, forward: { output.detached().clone() }) {
      storage.refillStorage(bytes: bytes)
      unit.gather(into: storage)
      return $0
    }
    storage.emptyStorage()
    return leaving
  }
}
