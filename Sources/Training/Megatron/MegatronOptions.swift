import Parallelism

/// How Megatron parallelism divides a model, besides the layout of ranks.
public struct MegatronOptions: Sendable, Equatable, Codable {
  /// nil: one chunk a stage.
  public var layersPerVirtualStage: Int?
  public var firstStageLayers: Int?
  public var lastStageLayers: Int?
  public var recomputation = Recomputation.none
  /// The optimizer's fp32 weights and moments stay in host memory (`--optimizer-cpu-offload`).
  public var offloadsOptimizer = false

  public init() {}
}
