import Models
import Parallelism
import WeightSync

/// What computes, on which device, in which precision, and how much at a time.
public struct BackendConfiguration: Sendable, Equatable, Codable {
  public var trainBackend = TrainBackendKind.megatron
  public var parallel = ParallelConfiguration()
  public var device = ComputeDevice.cpu
  /// nil: float32 on CPU, bfloat16 on CUDA.
  public var dtype: ComputeDType?
  /// Computes activations again in the backward pass instead of keeping them.
  public var gradientCheckpointing = false
  /// Packs samples into micro-batches of at most `maxTokensPerGPU` tokens.
  public var useDynamicBatchSize = false
  public var maxTokensPerGPU: Int?
  /// Samples a micro-batch holds when the batch size is not dynamic.
  public var microBatchSize = 1
  /// Deals micro-batches so that ranks have equal work, and fills them so that each has.
  public var balanceData = false
  public var balanceByFLOPs = false
  /// nil: the fastest that the device and the precision allow.
  public var attention: AttentionImplementation?
  /// The same choice by Megatron's names.
  public var attentionBackend = AttentionBackendKind.auto
  /// A token's log-probability is the same bits however samples are packed and divided, and two runs are.
  public var isDeterministic = false
  public var fsdp = FSDPConfiguration()
  /// Bytes of parameters that go to the engine at a time.
  public var updateWeightBufferSize = 512 << 20
  /// nil: `nccl`.
  public var updateWeightTransport: WeightTransport?
  public var updateWeightMode = WeightUpdateMode.full
  /// Where `disk` publishes versions, by the same path for the engines.
  public var weightFolder: String?
  public var keepsWeightFiles = false
  /// Each engine's copy, which deltas change, on its own machine.
  public var localWeightFolder: String?
  /// nil: `xor`.
  public var deltaEncoding: DeltaEncoding?
  /// nil: `xxh64`.
  public var deltaChecksum: DeltaChecksum?
  /// Rollouts between two weight updates.
  public var updateWeightsInterval = 1

  public init() {}

  /// How ranks are numbered and grouped.
  public func layout(worldSize: Int) throws(ConfigurationError) -> ParallelLayout {
    try parallel.layout(worldSize: worldSize, shardSize: fsdp.shardSize)
  }

  /// Whether a model can be divided so, before anything is started.
  func check(_ model: ModelConfiguration, worldSize: Int) throws {
    try parallel.check(model, layout(worldSize: worldSize), trainBackend)
  }

  public var weightTransport: WeightTransport { updateWeightTransport ?? .nccl }
  var resolvedAttention: AttentionImplementation? { attention ?? attentionBackend.implementation }
  public var resolvedDType: ComputeDType { dtype ?? (device == .cuda ? .bfloat16 : .float32) }
}

public enum TrainBackendKind: String, Sendable, Codable, CaseIterable {
  case fsdp, megatron
}

/// How weights reach engines.
public enum WeightTransport: String, Sendable, Codable, CaseIterable {
  /// By collectives to external engines (over Gloo where a side has no GPU), through shared memory to those of the run.
  case nccl
  /// Through a folder that trainer and engines see.
  case disk
  /// Inside requests to external engines, bucket by bucket: for where no group of trainer and engines can be formed.
  case http
}

/// What an update carries.
public enum WeightUpdateMode: String, Sendable, Codable, CaseIterable {
  case full, delta
}

/// What only `--train-backend fsdp` has.
public struct FSDPConfiguration: Sendable, Equatable, Codable {
  /// Parameters, gradients and optimizer stay in host memory.
  public var offloadsToHost = false
  /// Ranks that share one copy of the weights (hybrid sharding); nil: all.
  public var shardSize: Int?

  public init() {}
}

/// Megatron-LM's `--attention-backend`.
public enum AttentionBackendKind: String, Sendable, Codable, CaseIterable {
  case auto, flash, fused, unfused, local

  var implementation: AttentionImplementation? {
    switch self {
    case .auto: nil
    case .flash: .flashAttention2
    case .fused: .cudnn
    case .unfused, .local: .eager
    }
  }
}

public enum ComputeDevice: String, Sendable, Codable, CaseIterable {
  case cpu, cuda
}

/// The precision of matrix products; parameters and reductions stay in float32 where training needs it.
public enum ComputeDType: String, Sendable, Codable, CaseIterable {
  case float32, bfloat16, float16
}
