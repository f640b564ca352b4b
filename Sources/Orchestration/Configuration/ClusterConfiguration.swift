/// How many devices the trainer and the engines get. On `--device cpu` a device is a worker process.
public struct ClusterConfiguration: Sendable, Equatable, Codable {
  public var actorNodes = 1
  /// slime's default is 8; here it is what every machine has.
  public var actorGPUsPerNode = 1
  /// nil: the trainer's devices when colocated, otherwise one engine's.
  public var rolloutGPUs: Int?
  public var rolloutGPUsPerEngine = 1
  /// nil: as many as the devices are enough for.
  public var engines: Int?
  /// Trainer and engines share their devices.
  public var colocate = false
  /// Whether what the trainer, and what the engines need alone is on the shared devices only while they work; nil: on GPUs it is.
  public var offloadsTrainer: Bool?
  public var offloadsEngines: Bool?
  /// The run starts no engine, but uses those that run at these addresses: `http://host:port` or `host:port`.
  public var usesExternalEngines = false
  public var externalEngines: [String] = []
  /// nil: NCCL on CUDA, Gloo on CPU.
  public var distributedBackend: DistributedBackend?
  /// How long a collective may wait for a rank before it fails.
  public var distributedTimeoutMinutes = 10

  public init() {}

  public var trainerRanks: Int { actorNodes * actorGPUsPerNode }
  public var isExternal: Bool { usesExternalEngines || !externalEngines.isEmpty }
  public var engineGPUs: Int {
    rolloutGPUs ?? engines.map { $0 * rolloutGPUsPerEngine } ?? (colocate ? trainerRanks : rolloutGPUsPerEngine)
  }
  public var engineCount: Int { isExternal ? externalEngines.count : engineGPUs / rolloutGPUsPerEngine }
}

public enum DistributedBackend: String, Sendable, Codable, CaseIterable {
  case nccl, gloo
}
