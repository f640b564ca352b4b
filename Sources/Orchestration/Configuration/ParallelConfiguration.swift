import Models
import Parallelism
import Training

/// How `--train-backend megatron` divides a model over the trainer's ranks. Names and defaults are Megatron-LM's.
public struct ParallelConfiguration: Sendable, Equatable, Codable {
  public var tensorParallelSize = 1
  public var sequenceParallel = false
  public var pipelineParallelSize = 1
  public var layersPerVirtualStage: Int?
  public var firstStageLayers: Int?
  public var lastStageLayers: Int?
  public var contextParallelSize = 1
  public var expertParallelSize = 1
  /// nil: the tensor-parallel size.
  public var expertTensorParallelSize: Int?
  public var recomputeGranularity: RecomputeGranularity?
  public var recomputeMethod: RecomputeMethod?
  public var recomputeLayers: Int?
  public var sequenceFormat = SequenceLayout.Format.packed
  public var routerBalancing = RouterBalancing.none
  /// Weight of the balancing loss, and of the routers' z-loss.
  public var balanceCoefficient = 0.0
  public var zLossCoefficient = 0.0
  public var routingReplay = false
  public var rolloutRoutingReplay = false

  public init() {}

  /// - Parameter shardSize: ranks that share one copy of the weights (FSDP); nil: all.
  public func layout(worldSize: Int, shardSize: Int? = nil) throws(ConfigurationError) -> ParallelLayout {
    do throws(LayoutError) {
      return try ParallelLayout(
        worldSize: worldSize, tensorParallelSize: tensorParallelSize, sequenceParallel: sequenceParallel,
        contextParallelSize: contextParallelSize, pipelineParallelSize: pipelineParallelSize,
        expertParallelSize: expertParallelSize, expertTensorParallelSize: expertTensorParallelSize,
        shardSize: shardSize)
    } catch {
      throw ConfigurationError(error.description)
    }
  }

  /// Whether the model can be divided so, before anything is started.
  func check(_ model: ModelConfiguration, _ layout: ParallelLayout, _ backend: TrainBackendKind) throws {
    try require(
      model.mixture != nil || (!routingReplay && !rolloutRoutingReplay && routerLosses.areZero),
      "--use-routing-replay, --use-rollout-routing-replay, --moe-aux-loss-coeff and --moe-z-loss-coeff have no effect on a model without experts; leave them out")
    try require(
      model.mixture != nil || expertParallelSize == 1 && expertTensorParallelSize ?? 1 == 1,
      "--expert-model-parallel-size and --expert-tensor-parallel-size have no effect on a model without experts; leave them out")
    do {
      switch backend {
      case .megatron: try MegatronBackend.check(model, layout, megatronOptions)
      case .fsdp: try FSDPBackend.check(model, layout)
      }
    } catch let error as ModelError {
      throw ConfigurationError(error.description)
    } catch let error as LayoutError {
      throw ConfigurationError(error.description)
    }
  }

  var megatronOptions: MegatronOptions {
    var options = MegatronOptions()
    (options.layersPerVirtualStage, options.firstStageLayers) = (layersPerVirtualStage, firstStageLayers)
    options.lastStageLayers = lastStageLayers
    options.recomputation = recomputation
    return options
  }

  private var recomputation: Recomputation {
    switch (recomputeGranularity, recomputeMethod) {
    case (nil, _): .none
    case (.selective, _): .selective
    case (.full, .block): .block(layers: recomputeLayers ?? 1)
    case (.full, _): .uniform(layers: recomputeLayers ?? 1)
    }
  }

  var routerLosses: RouterLosses.Coefficients {
    var coefficients = RouterLosses.Coefficients()
    switch routerBalancing {
    case .none: break
    case .balance: coefficients.balance = balanceCoefficient
    case .sequenceBalance: coefficients.sequenceBalance = balanceCoefficient
    }
    coefficients.z = zLossCoefficient
    return coefficients
  }

  func validate(_ backend: TrainBackendKind) throws(ConfigurationError) {
    try require(
      balanceCoefficient >= 0 && zLossCoefficient >= 0, "--moe-aux-loss-coeff and --moe-z-loss-coeff must not be negative")
    try require(
      (balanceCoefficient > 0) == (routerBalancing != .none),
      "--moe-aux-loss-coeff and --moe-router-load-balancing-type go together; give both or neither")
    guard backend == .megatron else {
      var plain = ParallelConfiguration()
      // The divisions that FSDP has too.
      (plain.contextParallelSize, plain.expertParallelSize) = (contextParallelSize, expertParallelSize)
      plain.sequenceFormat = sequenceFormat
      (plain.routerBalancing, plain.balanceCoefficient) = (routerBalancing, balanceCoefficient)
      (plain.zLossCoefficient, plain.routingReplay) = (zLossCoefficient, routingReplay)
      plain.rolloutRoutingReplay = rolloutRoutingReplay
      try require(
        self == plain,
        "tensor, sequence, pipeline and expert-tensor parallelism and --recompute-… belong to --train-backend megatron; add it, or leave them out")
      return
    }
    try require(
      !sequenceParallel || tensorParallelSize > 1,
      "--sequence-parallel has no effect with --tensor-model-parallel-size 1; leave it out or raise the size")
    try require(
      recomputeMethod == nil && recomputeLayers == nil || recomputeGranularity == .full,
      "--recompute-method and --recompute-num-layers have no effect without --recompute-granularity full; add it")
    try require(
      recomputeGranularity != .full || recomputeMethod != nil,
      "--recompute-granularity full needs --recompute-method uniform or block")
    try require(recomputeLayers ?? 1 >= 1, "--recompute-num-layers must be at least 1, not \(recomputeLayers ?? 0)")
  }
}

public enum RecomputeGranularity: String, Sendable, Codable, CaseIterable {
  case full, selective
}

public enum RecomputeMethod: String, Sendable, Codable, CaseIterable {
  case uniform, block
}

/// Megatron's `--moe-router-load-balancing-type`.
public enum RouterBalancing: String, Sendable, Codable, CaseIterable {
  case none
  case balance = "aux_loss"
  case sequenceBalance = "seq_aux_loss"
}
