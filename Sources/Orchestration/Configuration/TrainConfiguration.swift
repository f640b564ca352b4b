/// `slime train`, whole. Parts are plain values; `validate` says what contradicts what.
public struct TrainConfiguration: Sendable, Equatable, Codable {
  public var checkpoint = CheckpointConfiguration()
  public var cluster = ClusterConfiguration()
  public var backend = BackendConfiguration()
  public var data = DataConfiguration()
  public var rollout = SamplingConfiguration()
  public var eval = EvalConfiguration()
  public var algorithm = AlgorithmConfiguration()
  public var critic = CriticConfiguration()
  public var distillation = DistillationConfiguration()
  public var optimizer = OptimizerConfiguration()
  public var engine = EngineConfiguration()
  /// Requests in flight at one engine.
  public var serverConcurrency = 512
  public var debug = DebugConfiguration()
  /// Rollouts' samples that one optimizer step takes; nil: follows from `stepsPerRollout`.
  public var globalBatchSize: Int?
  /// Optimizer steps on each rollout; nil: follows from `globalBatchSize`, else 1.
  public var stepsPerRollout: Int?
  /// What the command line says of the model, to be compared with config.json.
  public var architecture: [ArchitectureClaim] = []

  public init() {}

  /// Samples of one optimizer step.
  public var resolvedGlobalBatchSize: Int { globalBatchSize ?? rollout.samplesPerRollout / (stepsPerRollout ?? 1) }
  public var resolvedStepsPerRollout: Int { rollout.samplesPerRollout / max(resolvedGlobalBatchSize, 1) }

  public var isSupervised: Bool { algorithm.lossType == .supervised }
  public var usesEngine: Bool { !isSupervised && !debug.withoutEngine }
  public var trains: Bool { !debug.rolloutOnly && data.rolloutCount != 0 }
}

/// A command line that contradicts itself or its files, in one sentence that says what to write instead.
public struct ConfigurationError: ExitCodeError, Equatable, CustomStringConvertible {
  public var description: String
  /// The process's exit code.
  public var exitCode: Int32 { 2 }

  public init(_ description: String) { self.description = description }
}
