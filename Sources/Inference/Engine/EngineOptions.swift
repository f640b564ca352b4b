import Models
import Torch

/// How an engine runs a model.
public struct EngineOptions: Sendable {
  /// Type of weights and KV cache; nil: the checkpoint's.
  public var dtype: DType?
  /// What becomes of linear weights; nil: those that are stored as e4m3 stay so.
  public var quantization: WeightQuantization?
  /// Type that keys and values are kept in; nil: `dtype`.
  public var cacheType: DType?
  /// Of the first rank; those of the others follow it.
  public var device: Device
  /// Ranks that split the model's layers and the heads of the KV cache.
  public var tensorParallelSize = 1
  /// How many parts of them the experts are divided over; within a part, ranks split each expert.
  public var expertParallelSize = 1
  /// How long a rank waits for another.
  public var collectiveTimeout: Duration = .seconds(300)
  /// Tokens a KV page holds.
  public var pageSize: Int
  /// Tokens the KV cache holds; nil: as many as `memoryFraction` of a GPU leaves room for, or `cacheBytes` hold, and no
  /// more than `maxRunningRequests` of the longest can use.
  public var maxTotalTokens: Int?
  /// Share of a GPU's memory that may be in use when the KV cache is made (SGLang's mem_fraction_static); nil: `cacheBytes`.
  public var memoryFraction: Double?
  /// Most memory for the KV cache of a rank; on a CPU, taken as it is used.
  public var cacheBytes: Int
  public var maxRunningRequests: Int
  /// Most tokens one forward pass runs.
  public var chunkedPrefillSize: Int
  /// Most tokens of prompt and response together; nil: the model's.
  public var contextLength: Int?
  public var scheduleConservativeness: Double
  public var schedulePolicy: SchedulePolicy
  /// Whether every request computes its whole prompt.
  public var disableRadixCache: Bool
  /// What requests without a seed of their own draw theirs from, in order of arrival.
  public var randomSeed: Int
  public var weightVersion: String
  /// What builds the model (`--custom-model-provider-path`); nil: its family.
  public var modelProvider: String?
  /// How long the sender of a weight update may be silent before it is forgotten.
  public var weightUpdatePatience: Duration = .seconds(300)
  /// Whether weights that are let go of are kept in host memory; otherwise an update must bring them again. On a CPU they
  /// lie there already, and keep their place.
  public var stashesWeights = true
  /// Whether weights and KV that are let go of come back to the same addresses of a GPU, so that recorded steps stay good. While
  /// they are loaded weights are there twice.
  public var keepsAddresses = false
  /// Largest batch whose decoding step is recorded as a CUDA graph, and those below it; 0: none is.
  public var recordedBatch = 256
  /// Whether the next batch is planned while the device runs one; nil: on a GPU.
  public var overlapsSchedule: Bool?
  /// Whether a request gets the same tokens and log-probabilities, bit by bit, whatever runs beside it and however its
  /// prompt is cut or found in the cache, and those that a trainer in deterministic mode computes.
  public var isDeterministic = false
  /// Which LoRA adapters requests may use; nil: none.
  public var adapters: AdapterOptions?
  /// Whether requests may ask for hidden states.
  public var returnsHiddenStates = false
  /// How tokens are drafted; nil: not at all.
  public var speculative: SpeculativeOptions?
  /// What drafts instead of that which `speculative` names.
  package var makeDrafter: (@Sendable () -> any Drafter)?
  /// Runs in the step that executes a plan, before the model does; an error fails that step.
  package var onPlan: (@Sendable (BatchPlan) throws -> Void)?

  public init(
    dtype: DType? = nil, device: Device = .cpu, pageSize: Int = 16, maxTotalTokens: Int? = nil, memoryFraction: Double? = nil,
    cacheBytes: Int = 1 << 30, maxRunningRequests: Int = 256, chunkedPrefillSize: Int = 2048, contextLength: Int? = nil,
    scheduleConservativeness: Double = 1, schedulePolicy: SchedulePolicy = .fcfs, disableRadixCache: Bool = false,
    randomSeed: Int = 0, weightVersion: String = "default"
  ) {
    (self.dtype, self.device, self.pageSize, self.maxTotalTokens) = (dtype, device, pageSize, maxTotalTokens)
    (self.memoryFraction, self.cacheBytes) = (memoryFraction, cacheBytes)
    (self.maxRunningRequests, self.chunkedPrefillSize) = (maxRunningRequests, chunkedPrefillSize)
    (self.contextLength, self.scheduleConservativeness) = (contextLength, scheduleConservativeness)
    (self.schedulePolicy, self.disableRadixCache) = (schedulePolicy, disableRadixCache)
    (self.randomSeed, self.weightVersion) = (randomSeed, weightVersion)
  }
}

extension EngineOptions {
  /// - Throws: `EngineError` about what has no deterministic form, in deterministic mode.
  func requireDeterminism(of configuration: ModelConfiguration) throws {
    guard isDeterministic else { return }
    let obstacle: String? =
      if configuration.quantization != nil {
        "weights in e4m3, whose activations are scaled together; give --quantization unquant"
      } else if let cacheType, let dtype = dtype ?? configuration.dtype, cacheType != dtype {
        "a KV cache of \(cacheType.name); leave --kv-cache-dtype out"
      } else if let speculative, speculative.branches > 1 {
        "draft trees; give --speculative-eagle-topk 1"
      } else if adapters != nil {
        "LoRA adapters, whose products span all adapters of a batch; leave --enable-lora and --lora-paths out"
      } else {
        nil
      }
    if let obstacle { throw EngineError("--enable-deterministic-inference does not go with \(obstacle).") }
  }
}

/// What an engine could not do, in one sentence.
public struct EngineError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
