import Torch

/// Weights that are treated alike, as one flat vector in the compute type, with one flat vector of their gradients.
///
/// The ranks of `group` hold the same weights; the optimizer's fp32 weights and moments are spread over them (Megatron's
/// distributed optimizer; Rajbhandari et al., "ZeRO", 2020, stage 1): gradients are reduce-scattered, weights gathered.
public final class ParameterBuffer {
  public let parameters: [Parameter]
  public let group: ProcessGroup
  /// Where each parameter lies in the flat vectors.
  public let ranges: [Range<Int>]
  /// `[paddedCount]`, compute type: what the parameters' tensors are views of.
  public let weights: Tensor
  /// `[paddedCount]`, fp32 or bf16.
  public let gradients: Tensor
  /// This rank's part of the trained weights: `[paddedCount / group.size]`.
  public let master: MasterWeights
  /// Where that part lies in the flat vectors.
  public let ownRange: Range<Int>
  private let computeType: DType
  /// One a parameter, where `gradients` are not what autograd itself adds to.
  private let sums: [GradientSum]

  /// Gives the parameters memory, all zero.
  /// - Parameters:
  ///   - offloadsMaster: `master` is in host memory, whole: its other half would be on the device.
  ///   - precision: gradients of fp32 weights are fp32.
  public init(
    _ parameters: [Parameter], group: ProcessGroup, device: Device, computeType: DType, offloadsMaster: Bool = false,
    precision: OptimizerPrecision = OptimizerPrecision()
  ) {
    precondition(computeType != .float32 || precision.gradients == .float32, "autograd adds gradients to fp32 weights in fp32")
    (self.parameters, self.group, self.computeType) = (parameters, group, computeType)
    var start = 0
    ranges = parameters.map { parameter in
      defer { start += parameter.count }
      return start..<start + parameter.count
    }
    // Each rank's part begins where a kernel can read four numbers at once.
    let length = (start + 4 * group.size - 1) / (4 * group.size) * 4
    ownRange = group.rank * length..<(group.rank + 1) * length
    weights = .zeros([length * group.size], dtype: computeType, device: device)
    gradients = .zeros([length * group.size], dtype: precision.gradients, device: device)
    if precision.keepsRemainders, computeType == .bfloat16, !offloadsMaster {
      master = MasterWeights(weights[ownRange], remainders: .zeros([length], dtype: .int16, device: device))
    } else if group.size == 1, computeType == .float32, !offloadsMaster {
      // One rank in fp32 trains what it computes with.
      master = MasterWeights(weights)
    } else {
      master = MasterWeights(.zeros([length], device: offloadsMaster && device.kind != .meta ? .cpu : device))
    }
    var sums: [GradientSum] = []
    for (parameter, range) in zip(parameters, ranges) {
      let leaf = weights[range].view(parameter.shape).uncounted()
      leaf.requiresGrad = true
      parameter.tensor = leaf
      let place = gradients[range].view(parameter.shape)
      if computeType == .float32 {
        // Autograd adds to a gradient that is there, in place.
        leaf.grad = place
      } else {
        let sum = GradientSum(place)
        sums.append(sum)
        parameter.gradientSum = sum
        leaf.registerPostAccumulateHook { leaf in
          if let gradient = leaf.grad { sum.add(gradient) }
          leaf.grad = nil
        }
      }
    }
    self.sums = sums
  }

  /// The gradient of one parameter, as a view.
  func gradient(_ index: Int) -> Tensor { gradients[ranges[index]].view(parameters[index].shape) }

  /// Makes `gradients` whole: those of weights that took no part are zero.
  public func settleGradients() { for sum in sums { sum.settle() } }

  /// Bytes of trained weights besides those that the model computes with.
  package var masterByteCount: Int { (isApart ? master.values.byteCount : 0) + (master.remainders?.byteCount ?? 0) }

  /// Whether the trained weights have memory besides `weights`.
  var isApart: Bool { !master.values.sharesStorage(with: weights) }

  /// Takes whole fp32 values; `value` is asked for each parameter.
  public func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    try withoutGradients {
      for (index, parameter) in parameters.enumerated() {
        let whole = try value(parameter).reshape([parameter.count])
        if let remainders = master.remainders {
          let parts = MasterWeights.split(whole)
          weights[ranges[index]].copy_(parts.values)
          keepOwn(parts.remainders, at: index, in: remainders)
        } else {
          weights[ranges[index]].copy_(whole)
          if isApart { keepOwn(whole, at: index, in: master.values) }
        }
      }
    }
  }

  /// Of a parameter's whole value, keeps what lies in this rank's part of a vector that is spread like `master`.
  public func keepOwn(_ value: Tensor, at index: Int, in shard: Tensor) {
    let range = ranges[index]
    let overlap = range.clamped(to: ownRange)
    guard !overlap.isEmpty else { return }
    let flat = value.contiguous().view([range.count])
    shard[overlap.lowerBound - ownRange.lowerBound..<overlap.upperBound - ownRange.lowerBound]
      .copy_(flat[overlap.lowerBound - range.lowerBound..<overlap.upperBound - range.lowerBound])
  }

  /// This rank's part of the gradients, summed over the ranks.
  func reducedGradients() -> Tensor {
    guard group.size > 1 else { return gradients }
    let own = Tensor.empty([ownRange.count], dtype: gradients.dtype, device: gradients.device)
    group.reduceScatter(gradients, into: own)
    return own
  }

  /// One step from this rank's part of the gradients; all ranks then have the stepped weights in the compute type.
  func step(_ optimizer: AdamW, _ gradient: Tensor, learningRate: Double, gradientScale: Double) {
    optimizer.step(
      [gradient.to(device: master.values.device)], learningRate: learningRate, gradientScale: gradientScale,
      writing: isApart ? [weights[ownRange]] : nil)
    guard group.size > 1 else { return }
    withoutGradients { group.allGather(weights[ownRange].clone(), into: weights) }
  }

  func forgetGradients() {
    if computeType == .float32 { withoutGradients { _ = gradients.zero_() } }
    for sum in sums { sum.forget() }
  }

  /// The trained weights of all ranks of the group, each of which must call it.
  public func wholeMaster() -> MasterWeights {
    master.remainders.map { MasterWeights(weights, remainders: whole($0)) } ?? MasterWeights(whole(master.values))
  }

  /// Any flat vector that is spread like `master`, whole. Every rank of the group must call it.
  public func whole(_ shard: Tensor) -> Tensor {
    guard group.size > 1 else { return shard }
    return withoutGradients { shard.to(device: weights.device).gathered(from: group) }
  }
}
