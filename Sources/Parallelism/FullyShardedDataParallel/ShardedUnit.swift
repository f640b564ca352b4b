import Torch

/// Some parameters of a model as one flat fp32 vector, of which each rank of the group holds an equal slice.
///
/// The unit of FSDP (Zhao et al., "PyTorch FSDP", 2023): gathered before use, its gradient reduce-scattered after.
/// `shard` is the trained leaf; gradients arrive in `shard.grad`, summed over the ranks. What is not learned, each rank
/// holds whole, outside of the vector.
public final class ShardedUnit {
  /// All parameters: those of the vector in their order, then the constants.
  public let parameters: [Parameter]
  /// Parameters in the vector.
  private let learned: [Parameter]
  public let constants: [Parameter]
  /// Elements of the vector that are no padding.
  public let learnedCount: Int
  /// `[paddedCount / group.size]`, fp32, requires a gradient.
  public let shard: Tensor
  let group: ProcessGroup
  let computeType: DType
  /// Elements of each parameter, and the padding at the end.
  private let sizes: [Int]
  private let paddedCount: Int

  public init(_ parameters: [Parameter], group: ProcessGroup, device: Device, computeType: DType) {
    (self.group, self.computeType) = (group, computeType)
    learned = parameters.filter(\.isLearned)
    constants = parameters.filter { !$0.isLearned }
    self.parameters = learned + constants
    let count = learned.reduce(0) { $0 + $1.count }
    learnedCount = count
    paddedCount = (count + group.size - 1) / group.size * group.size
    sizes = learned.map(\.count) + (paddedCount > count ? [paddedCount - count] : [])
    for constant in constants { constant.tensor = .zeros(constant.shape, dtype: constant.dtype, device: device) }
    shard = .zeros([paddedCount / group.size], device: device)
    shard.requiresGrad = true
  }

  /// Which slice this rank holds.
  public var rank: Int { group.rank }

  /// This rank's slice of the flat vector.
  private var ownRange: Range<Int> {
    let length = paddedCount / group.size
    return group.rank * length..<(group.rank + 1) * length
  }

  /// Fills this rank's slice from whole parameters, one at a time; `value` is asked for a parameter's full tensor only
  /// where a part of it lies here.
  public func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    try withoutGradients {
      let own = shard.detached()
      var start = 0
      for constant in constants { constant.tensor.copy_(try value(constant)) }
      for parameter in learned {
        let overlap = (start..<start + parameter.count).clamped(to: ownRange)
        if !overlap.isEmpty {
          let flat = try value(parameter).contiguous().view([parameter.count])
          own[overlap.lowerBound - ownRange.lowerBound..<overlap.upperBound - ownRange.lowerBound]
            .copy_(flat[overlap.lowerBound - start..<overlap.upperBound - start])
        }
        start += parameter.count
      }
    }
  }

  // MARK: Use

  /// Whether `gathered()` gives memory of its own, which can be freed and gathered again.
  var gathersCopy: Bool { group.size > 1 || computeType != .float32 }

  /// The whole flat vector in the compute type, differentiable by `shard`.
  func gathered() -> Tensor {
    guard gathersCopy else { return shard }
    return Tensor.function("AllGatherParameters", input: shard, forward: {
      let full = Tensor.empty([self.paddedCount], dtype: self.computeType, device: self.shard.device)
      self.gather(into: full)
      return full
    }) { gradient in
      self.reduceScatter(gradient)
    }
  }

  /// All-gathers the shards in the compute type.
  func gather(into full: Tensor) {
    withoutGradients { group.allGather(shard.detached().to(dtype: computeType), into: full) }
  }

  private func reduceScatter(_ gradient: Tensor) -> Tensor {
    let wide = gradient.to(dtype: .float32).contiguous()
    guard group.size > 1 else { return wide }
    let own = Tensor.empty([paddedCount / group.size], device: wide.device)
    group.reduceScatter(wide, into: own)
    return own
  }

  /// Lets the parameters stand for their parts of `full`.
  func lend(_ full: Tensor) {
    let parts = full.splitWithSizes(sizes)
    for (parameter, part) in zip(learned, parts) { parameter.tensor = part.view(parameter.shape) }
  }

  /// Takes the parameters' memory back.
  func reclaim() {
    for parameter in learned { parameter.tensor = .empty(parameter.shape, dtype: computeType, device: .meta) }
  }

  // MARK: Whole weights

  /// Each parameter whole and in fp32, for saving and weight update. Every rank must call it, in the same order.
  public func whole() -> [(Parameter, Tensor)] {
    withoutGradients {
      let full: Tensor
      if group.size == 1 {
        full = shard.detached()
      } else {
        full = .empty([paddedCount], device: shard.device)
        group.allGather(shard.detached(), into: full)
      }
      return zip(learned, full.splitWithSizes(sizes)).map { ($0, $1.view($0.shape)) }
        + constants.map { ($0, $0.tensor.to(dtype: .float32)) }
    }
  }
}
