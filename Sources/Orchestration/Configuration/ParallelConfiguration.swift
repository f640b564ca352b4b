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

  public init() {}

  public func layout(worldSize: Int) throws(ConfigurationError) -> ParallelLayout {
    do throws(LayoutError) {
      return try ParallelLayout(
        worldSize: worldSize, tensorParallelSize: tensorParallelSize, sequenceParallel: sequenceParallel,
        contextParallelSize: contextParallelSize, pipelineParallelSize: pipelineParallelSize,
        expertParallelSize: expertParallelSize, expertTensorParallelSize: expertTensorParallelSize)
    } catch {
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

  func validate(_ backend: TrainBackendKind) throws(ConfigurationError) {
    guard backend == .megatron else {
      var plain = ParallelConfiguration()
      // The two divisions that FSDP has too.
      plain.contextParallelSize = contextParallelSize
      plain.sequenceFormat = sequenceFormat
      try require(
        self == plain,
        "tensor, sequence, pipeline and expert parallelism and --recompute-… belong to --train-backend megatron; add it, or leave them out")
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
