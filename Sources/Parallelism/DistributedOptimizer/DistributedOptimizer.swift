import Torch

/// AdamW over weights that Megatron parallelism splits: gradients are completed over the ranks that share weights, the
/// norm is taken over all of them, and each rank steps its part of what it holds alike with others.
public final class DistributedOptimizer {
  public struct Options: Sendable, Equatable {
    public var adam = AdamW.Options()
    /// The largest norm of all gradients; 0: no limit.
    public var clipGradient = 1.0
    public var computeType = DType.float32
    public var precision = OptimizerPrecision()
    /// Trained fp32 weights and moments are in host memory and stepped there; gradients and weights travel.
    public var offloadsToHost = false

    public init() {}
  }

  public let buffers: [ParameterBuffer]
  /// What the model computes with besides: weights that are not learned.
  public let constants: [Parameter]
  /// One a buffer, over its `master`.
  public let optimizers: [AdamW]
  private let options: Options
  private let parallel: ParallelContext
  private let partial: PartialGradients
  /// The gradient that both ends of the pipeline hold a part of.
  private let tied: Tensor?
  /// For each buffer the parts of this rank's gradients that count in the norm: what several ranks hold alike, one of
  /// them counts.
  private let counted: [[Range<Int>]]

  /// - Parameter tied: the weight that this stage shares with the pipeline's other end, if any.
  public init(_ parameters: [Parameter], tied: Parameter?, options: Options, parallel: ParallelContext) {
    (self.options, self.parallel) = (options, parallel)
    // Norms and biases do not decay.
    func decays(_ parameter: Parameter) -> Bool { parameter.shape.count > 1 }
    var buffers: [ParameterBuffer] = []
    var optimizers: [AdamW] = []
    for (isExpert, isDecayed) in [(false, true), (false, false), (true, true), (true, false)] {
      let members = parameters.filter { $0.isLearned && $0.sharing.isExpert == isExpert && decays($0) == isDecayed }
      guard !members.isEmpty else { continue }
      let buffer = ParameterBuffer(
        members, group: isExpert ? parallel.expertData : parallel.dataContext, device: parallel.device,
        computeType: options.computeType, offloadsMaster: options.offloadsToHost, precision: options.precision)
      var adam = options.adam
      if !isDecayed { adam.weightDecay = 0 }
      buffers.append(buffer)
      optimizers.append(AdamW([buffer.master], options: adam, precision: options.precision))
    }
    (self.buffers, self.optimizers) = (buffers, optimizers)
    constants = parameters.filter { !$0.isLearned }
    for constant in constants { constant.tensor = .zeros(constant.shape, dtype: constant.dtype, device: parallel.device) }
    partial = PartialGradients(buffers, group: parallel.tensor)
    self.tied = tied.flatMap { tied in
      buffers.lazy.compactMap { buffer in
        buffer.parameters.firstIndex { $0 === tied }.map { buffer.gradients[buffer.ranges[$0]] }
      }.first
    }
    let countsTied = parallel.stage == 0
    counted = buffers.map { buffer in
      zip(buffer.parameters, buffer.ranges).flatMap { parameter, range -> [Range<Int>] in
        guard parameter !== tied || countsTied else { return [] }
        let group = parameter.sharing.isExpert ? parallel.expertTensor : parallel.tensor
        let width = parameter.count / max(parameter.shape[0], 1)
        return parameter.rows.compactMap { piece, rows in
          // The first of the ranks that hold this slice.
          guard group.rank % (group.size / (piece.slice?.count ?? 1)) == 0 else { return nil }
          let part = range.lowerBound + rows.lowerBound * width..<range.lowerBound + rows.upperBound * width
          let own = part.clamped(to: buffer.ownRange)
          return own.isEmpty
            ? nil : own.lowerBound - buffer.ownRange.lowerBound..<own.upperBound - buffer.ownRange.lowerBound
        }
      }
    }
  }

  /// All that the model computes with, in memory that stays in place.
  public var weights: [Tensor] { buffers.map(\.weights) + constants.map(\.tensor) }

  /// What the device need not hold while nothing is trained: all but `weights`. Gradients are forgotten, as they are after
  /// each step.
  public var idleState: (kept: [Tensor], forgotten: [Tensor]) {
    let apart = buffers.filter(\.isApart).map(\.master.values) + buffers.compactMap(\.master.remainders)
    return (apart + optimizers.flatMap { $0.firstMoments + $0.secondMoments }, buffers.map(\.gradients))
  }

  /// Takes whole fp32 values; `value` is asked for each parameter.
  public func fill(_ value: (Parameter) throws -> Tensor) rethrows {
    for buffer in buffers { try buffer.fill(value) }
    try withoutGradients { for constant in constants { constant.tensor.copy_(try value(constant)) } }
  }

  /// One step from the gradients that have added up, which are forgotten then.
  /// - Returns: the norm of all gradients before clipping; where it is not finite, nothing was stepped.
  public func step(learningRate: Double) -> Double {
    for buffer in buffers { buffer.settleGradients() }
    partial.sum()
    if let tied, let embedding = parallel.pipeline?.embedding { embedding.allReduce(tied) }
    let gradients = buffers.map { $0.reducedGradients() }
    let norm = norm(gradients)
    if norm.isFinite {
      let isClipped = options.clipGradient > 0 && norm > options.clipGradient
      let scale = isClipped ? options.clipGradient / (norm + 1e-6) : 1
      for (index, buffer) in buffers.enumerated() {
        buffer.step(optimizers[index], gradients[index], learningRate: learningRate, gradientScale: scale)
      }
    }
    for buffer in buffers { buffer.forgetGradients() }
    return norm
  }

  private func norm(_ gradients: [Tensor]) -> Double {
    withoutGradients {
      let parts = zip(gradients, counted).flatMap { gradient, ranges in ranges.map { gradient[$0] } }
      let squares = Tensor.sumOfSquares(parts, device: parallel.device)
      parallel.world.allReduce(squares)
      return squares.sqrt().item()
    }
  }
}
