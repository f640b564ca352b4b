import Inference
import Models
import Torch

/// What drafts tokens, by SGLang's names.
public enum SpeculativeAlgorithm: String, Sendable, Codable, CaseIterable {
  case ngram = "NGRAM"
  case standalone = "STANDALONE"
  /// A draft head in a folder of its own, or where none is named the model's own layer, as with `NEXTN`.
  case eagle = "EAGLE"
  case nextN = "NEXTN"
  case eagle3 = "EAGLE3"

  /// Whether drafts come from a head on top of the model.
  var usesHead: Bool { self == .eagle || self == .eagle3 || self == .nextN }
}

/// What keys and values are kept in, by SGLang's names.
public enum KVCacheType: String, Sendable, Codable, CaseIterable {
  /// The model's type.
  case auto
  case bfloat16, bf16
  case float8e4m3 = "fp8_e4m3"
}

/// The limits of a rollout engine. A nil leaves the choice to the engine. Names are those of SGLang.
public struct EngineConfiguration: Sendable, Equatable, Codable {
  /// Most tokens of prompt and response together; nil: config.json's.
  public var contextLength: Int?
  /// Share of the device's memory for weights and KV cache.
  public var memFractionStatic: Double?
  public var maxRunningRequests: Int?
  /// Tokens the KV cache holds; nil: what `memFractionStatic` leaves room for.
  public var maxTotalTokens: Int?
  /// Most prompt tokens that one batch computes.
  public var chunkedPrefillSize: Int?
  /// Tokens a page of the KV cache holds.
  public var pageSize: Int?
  /// What becomes of linear weights; nil: those that are stored as e4m3 stay so.
  public var quantization: WeightQuantization?
  public var kvCacheType = KVCacheType.auto
  /// Ranks that split each layer.
  public var tensorParallelSize = 1
  /// Parts of them that experts are divided over.
  public var expertParallelSize = 1
  public var schedulePolicy = SchedulePolicy.fcfs
  public var scheduleConservativeness = 1.0
  /// Forgets what it computed when a request ends.
  public var disableRadixCache = false
  public var disableOverlapSchedule = false
  public var disableCUDAGraph = false
  /// Largest batch whose decoding step is recorded as a CUDA graph; nil: 256.
  public var cudaGraphMaxBatch: Int?
  /// A request gets the same bits whatever runs beside it.
  public var isDeterministic = false
  /// nil: a step gives one token of each response.
  public var speculation: SpeculativeAlgorithm?
  /// The model that drafts, with `STANDALONE`, or the draft head, with `EAGLE` and `EAGLE3`.
  public var draftModel: String?
  /// Steps of the draft model; nil: as many as there are drafts.
  public var speculativeSteps: Int?
  /// Likeliest tokens that a draft head tries after each draft.
  public var speculativeBranches = 1
  /// Tokens of a response that a step verifies.
  public var draftTokens = 4
  /// Whether requests may ask for hidden states.
  public var returnsHiddenStates = false

  public init() {}

  /// `memFractionStatic` of an engine that has its devices for itself.
  public static let memoryFraction = 0.85
}

extension KVCacheType {
  /// nil: the model's type.
  public var tensorType: DType? {
    switch self {
    case .auto: nil
    case .bfloat16, .bf16: .bfloat16
    case .float8e4m3: .float8e4m3
    }
  }
}
