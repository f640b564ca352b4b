import Parallelism

/// How Megatron parallelism divides a model, besides the layout of ranks.
public struct MegatronOptions: Sendable, Equatable, Codable {
  /// nil: one chunk a stage.
  public var layersPerVirtualStage: Int?
  public var firstStageLayers: Int?
  public var lastStageLayers: Int?
  public var recomputation = Recomputation.none

  public init() {}
}
