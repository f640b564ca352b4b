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
  /// Deals micro-batches so that ranks have equal work.
  public var balanceData = false
  /// Bytes of parameters that go to the engine at a time.
  public var updateWeightBufferSize = 512 << 20
  /// Rollouts between two weight updates.
  public var updateWeightsInterval = 1

  public init() {}

  public var resolvedDType: ComputeDType { dtype ?? (device == .cuda ? .bfloat16 : .float32) }
}

public enum TrainBackendKind: String, Sendable, Codable, CaseIterable {
  case fsdp, megatron
}

public enum ComputeDevice: String, Sendable, Codable, CaseIterable {
  case cpu, cuda
}

/// The precision of matrix products; parameters and reductions stay in float32 where training needs it.
public enum ComputeDType: String, Sendable, Codable, CaseIterable {
  case float32, bfloat16, float16
}
