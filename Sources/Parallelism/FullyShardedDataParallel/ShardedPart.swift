import Torch

/// The weights of one block, or of all that lies outside of the blocks: learned ones in sharded units, of which there are
/// two where ranks hold different experts; constants, which each rank holds whole.
public struct ShardedPart {
  public let units: [ShardedUnit]
  public let constants: [Parameter]

  init(_ parameters: [Parameter], options: FullyShardedModel.Options, parallel: ParallelContext) {
    let learned = parameters.filter(\.isLearned)
    // Experts that all ranks hold are weights as others are.
    func isDivided(_ parameter: Parameter) -> Bool { parameter.sharing.isExpert && parallel.expert.size > 1 }
    units = [false, true].compactMap { divided in
      let members = learned.filter { isDivided($0) == divided }
      return members.isEmpty
        ? nil : ShardedUnit(members, holdsDividedExperts: divided, options: options, parallel: parallel)
    }
    constants = parameters.filter { !$0.isLearned }
    for constant in constants { constant.tensor = .zeros(constant.shape, dtype: constant.dtype, device: parallel.device) }
  }

  /// Fills this rank's part from whole parameters, one at a time; `value` is asked for a parameter's full tensor only
  /// where some of it lies here.
  public func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    for unit in units { try unit.fill(value) }
    try withoutGradients { for constant in constants { constant.tensor.copy_(try value(constant)) } }
  }

  /// Each parameter whole (of divided experts, those that this rank's group holds) and in fp32. Every rank must call it,
  /// in the same order.
  public func whole() -> [(Parameter, Tensor)] {
    units.flatMap { $0.whole() } + constants.map { ($0, $0.tensor.to(dtype: .float32)) }
  }

  /// Bytes that whole weights, and shards on their way to become them, take now.
  package var gatheredByteCount: Int { units.reduce(0) { $0 + $1.gatheredByteCount } }

  func startGather() { for unit in units { unit.startGather() } }

  func gather() {
    startGather()
    for unit in units { unit.gather() }
  }

  func free() { for unit in units { unit.free() } }

  /// - Parameter gradients: told the gradients of each unit's parameters in the backward pass, when nothing needs its
  ///   weights anymore.
  func lend(_ gradients: @escaping (ShardedUnit, [Tensor?]) -> Void) {
    for unit in units { unit.lend { gradients(unit, $0) } }
  }

  func reclaim() { for unit in units { unit.reclaim() } }
}
