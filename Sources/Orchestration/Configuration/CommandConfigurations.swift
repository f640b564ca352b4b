import Models

/// `slime serve`: an engine behind SGLang's HTTP API.
public struct ServeConfiguration: Sendable, Equatable, Codable {
  public var modelPath = ""
  /// nil: `modelPath`.
  public var tokenizerPath: String?
  /// What `/v1/models` calls it; nil: `modelPath`.
  public var servedModelName: String?
  public var host = "127.0.0.1"
  public var port = 30000
  /// Requests must carry it as a bearer token; nil: anyone may ask.
  public var apiKey: String?
  /// The routes that control the server want it instead.
  public var adminAPIKey: String?
  /// How the model writes calls of functions, and how it separates its thoughts.
  public var toolCallParser: String?
  public var reasoningParser: String?
  /// Whether streams of `/generate` carry only what is new.
  public var incrementalStreamingOutput = false
  /// Seconds that running requests may go on once the server is told to stop.
  public var drainTimeout = 5.0
  public var device = ComputeDevice.cpu
  /// nil: float32 on CPU, bfloat16 on CUDA.
  public var dtype: ComputeDType?
  public var engine = EngineConfiguration()
  /// Engines that share the requests.
  public var dataParallelSize = 1
  public var lora = LoRAConfiguration()
  public var randomSeed = 42
  /// What builds the model in the place of its family.
  public var modelProvider: String?
  public var logLevel = LogLevel.info

  public init() {}

  public var resolvedDType: ComputeDType { dtype ?? (device == .cuda ? .bfloat16 : .float32) }
}

public enum LogLevel: String, Sendable, Codable, CaseIterable {
  case debug, info, warning, error
}

/// `slime generate`: one prompt, one response.
public struct GenerateConfiguration: Sendable, Equatable, Codable {
  public var hfCheckpoint = ""
  public var prompt = ""
  /// The prompt is a user's message, put into the chat template.
  public var chat = false
  /// Print what `/generate` would answer.
  public var json = false
  public var maxNewTokens = 128
  public var temperature = 1.0
  public var topP = 1.0
  public var topK = -1
  public var seed: Int?
  /// What builds the model in the place of its family.
  public var modelProvider: String?
  public var device = ComputeDevice.cpu
  /// nil: float32 on CPU, bfloat16 on CUDA.
  public var dtype: ComputeDType?

  public init() {}

  public var resolvedDType: ComputeDType { dtype ?? (device == .cuda ? .bfloat16 : .float32) }
}

/// `slime score`: log-probabilities and entropies of given tokens.
public struct ScoreConfiguration: Sendable, Equatable, Codable {
  public var hfCheckpoint = ""
  public var input = ""
  public var output = ""
  /// What builds the model in the place of its family.
  public var modelProvider: String?
  public var cluster = ClusterConfiguration()
  public var backend = BackendConfiguration()
  public var architecture: [ArchitectureClaim] = []

  public init() {}
}

/// `slime convert`: between Hugging Face folders, plain or FP8, and torch_dist.
public struct ConvertConfiguration: Sendable, Equatable, Codable {
  public var hfCheckpoint = ""
  public var save: String?
  public var load: String?
  public var saveHF: String?
  /// What `saveHF` gets; nil: plain numbers.
  public var quantization: WeightQuantization?

  public init() {}
}

/// `slime inspect`: what is understood of a Hugging Face folder.
public struct InspectConfiguration: Sendable, Equatable, Codable {
  public var folder = ""
  /// What builds the model in the place of its family.
  public var modelProvider: String?
  public var json = false

  public init() {}
}

/// `slime demo`: learns small arithmetic from nothing.
public struct DemoConfiguration: Sendable, Equatable, Codable {
  /// Where data, models and metrics go.
  public var output = "runs/demo"
  public var seed = 1
  public var device = ComputeDevice.cpu

  public init() {}
}

/// `slime bench`: what is timed, and with how much.
public struct BenchConfiguration: Sendable, Equatable, Codable {
  /// nil: say what there is.
  public var subject: BenchSubject?
  public var json = false
  /// Holds the tokenizer.json to time.
  public var hfCheckpoint: String?
  /// Texts to tokenise beside the generated ones.
  public var texts: [String] = []
  /// An interpreter that has the package to compare with.
  public var python: String?
  /// Who does the same work in the same run; nil: nobody, unless there is an interpreter.
  public var comparison: BenchComparison?
  /// Of a soak or a rollout; nil: 20,000 and 64.
  public var requests: Int?
  public var randomInputLen = 64
  public var randomOutputLen = 128
  public var randomRangeRatio = 1.0
  /// nil: the checkpoint's.
  public var dtype: ComputeDType?
  public var device = ComputeDevice.cpu
  /// Sequences of a training step and tokens of each.
  public var microBatchSize = 2
  public var seqLength = 4096
  public var trainBackend = TrainBackendKind.megatron
  public var attention: AttentionImplementation?
  public var optimizer = OptimizerConfiguration()
  /// Of the files to load.
  public var gigabytes = 4.0
  /// Whether the engine of a rollout or a weight update keeps linear weights as e4m3.
  public var isFloat8 = false
  /// Whether the engine of a rollout is deterministic.
  public var isDeterministic = false
  /// Ways of a weight update; empty: all.
  public var updateKinds: [UpdateKind] = []
  /// Prompts of a step, samples of each, and steps.
  public var promptCount = 32
  public var samplesPerPrompt = 8
  public var steps = 3
  /// Where they are made for the time of the run; nil: the system's folder for such.
  public var temporaryFolder: String?

  public init() {}

  /// Lengths from which those of requests are drawn.
  public func lengths(upTo longest: Int) -> ClosedRange<Int> {
    max(1, min(longest, Int(Double(longest) * randomRangeRatio)))...longest
  }
}

/// The way of a weight update.
public enum UpdateKind: String, Sendable, Codable, CaseIterable {
  /// The engine reads the trainer's memory in place (CUDA IPC, or shared memory of the host).
  case tensor
  /// The same through buckets.
  case bucket
  /// Broadcast to a server: over NCCL where there are two GPUs, else over Gloo.
  case distributed
  /// Inside requests to a server.
  case http
  case disk
}

public enum BenchComparison: String, Sendable, Codable, CaseIterable {
  case transformers
}

public enum BenchSubject: String, Sendable, Codable, CaseIterable {
  /// What a call of an operator costs from Swift, beside the same call from C++.
  case ops
  /// The most memory of a training step under several layouts, beside what `slime plan` says.
  case memory
  /// Whether an engine survives many requests and all that can happen to them.
  case soak
  /// How fast an engine generates, beside `transformers`.
  case rollout
  /// How fast a training backend learns, beside `transformers`.
  case train
  /// How exact and how fast our GPU kernels are, beside operators.
  case kernels
  /// How fast a folder becomes a model, beside reading its files.
  case load
  /// How long a weight update takes, and how much memory.
  case update
  /// What a step of colocated training spends its time with.
  case step
  /// How fast texts become tokens, beside the Python package `tokenizers`.
  case tokenizer
}

/// `slime worker`: a process that the driver starts; nobody else does.
public struct WorkerConfiguration: Sendable, Equatable, Codable {
  public var role = ""
  public var rank = 0

  public init() {}
}
