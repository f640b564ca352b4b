import Parallelism

/// How long an optimizer step takes, in seconds: an estimate from peaks and what was measured of them.
public struct StepTime: Sendable, Equatable {
  /// Matrix products and attention, at `productShare` of the peak.
  public var products = 0.0
  /// Element-wise work: every tensor that is made is written once and about two are read for it.
  public var elements = 0.0
  /// Messages within the passes, as far as nothing is computed meanwhile.
  public var messages = 0.0
  /// Gradients and weights between ranks that share them, and the optimizer's pass over its state.
  public var optimizer = 0.0
  /// Waiting for other stages.
  public var bubble = 0.0

  /// Of the peak, reached by training's matrix products on an H200 (700 to 746 of 989 TFLOP/s).
  public static let productShare = 0.73

  public var total: Double { products + elements + messages + optimizer + bubble }

  init(_ rank: PlannedRank, layout: ParallelLayout, on gpu: Accelerator, _ interconnect: Interconnect, isSharded: Bool) {
    products = rank.operations / (gpu.peak * Self.productShare)
    elements = rank.madeBytes * 3 / gpu.bandwidth
    // Weights, gradients and two moments are read and written.
    optimizer = Double(rank.memory.optimizer + rank.memory.gradients + rank.memory.weights) * 2 / gpu.bandwidth
    // What travels while something else is computed: context parallelism's next part, the next block's weights.
    var hidden = 0.0
    for (kind, bytes) in rank.sentBytes {
      let group = ParallelGroup(rawValue: kind) ?? .pipeline
      let ranks = layout.ranks(of: group, with: rank.rank)
      let near = ranks.filter { $0 / interconnect.machineSize == rank.rank / interconnect.machineSize }.count - 1
      let far = ranks.count - 1 - near
      // A ring is as slow as its slowest hop; all-to-all goes each way for its part.
      let time = far == 0 ? bytes / gpu.link
        : group != .expert ? bytes / interconnect.network
        : bytes * (Double(far) / interconnect.network + Double(near) / gpu.link) / Double(far + near)
      switch group {
      case .tensor, .expert, .expertTensor, .pipeline: messages += time
      case .context, .shard: hidden += time
      case .data, .dataContext, .replicas: optimizer += time
      case .expertData:
        if isSharded { hidden += time } else { optimizer += time }
      case .world, .tensorContext: break
      }
    }
    messages += max(hidden - products - elements, 0)
  }
}

/// The whole step: the slowest stage sets the pace.
public struct PlannedStep: Sendable, Equatable {
  /// By stage.
  public var stages: [StepTime]
  /// The share of the time in which a stage waits, (p − 1) / (v·m + p − 1) for p stages of v chunks and m micro-batches
  /// (Narayanan et al., 2021).
  public var bubbleShare: Double

  /// - Parameter ranks: one a stage, in order.
  public init(
    _ ranks: [PlannedRank], layout: ParallelLayout, on gpu: Accelerator, _ interconnect: Interconnect, isSharded: Bool
  ) {
    var stages = ranks.map { StepTime($0, layout: layout, on: gpu, interconnect, isSharded: isSharded) }
    let depth = Double(layout.pipelineParallelSize - 1)
    let work = Double((ranks.first?.layers.count ?? 1) * (ranks.first?.microBatches ?? 1))
    bubbleShare = depth / (work + depth)
    let pace = stages.map { $0.products + $0.elements + $0.messages }.max() ?? 0
    for index in stages.indices {
      let own = stages[index].products + stages[index].elements + stages[index].messages
      stages[index].bubble = pace / (1 - bubbleShare) - own
    }
    self.stages = stages
  }

  public var seconds: Double { stages.map(\.total).max() ?? 0 }
}
