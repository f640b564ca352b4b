import Foundation
import Torch

/// The processes of a run: trainer ranks and engines, with the driver as their parent; external engines are only asked.
struct RunWorkers {
  let supervisor: Supervisor
  let trainers: TrainerGroup?
  /// Trainers too, on the actor's devices; nil where there is no critic.
  let critics: TrainerGroup?
  let engines: EnginePool?
  /// Those of them that the run started, which give memory back while the trainer works; empty where they keep it.
  let givingMemory: [WorkerEngine]
  /// From the trainers to the engines; nil where either is missing.
  let weightUpdate: (any WeightUpdate)?

  /// Starts processes and waits until each has loaded its model.
  /// - Parameter resume: what the run continues from.
  static func start(_ inputs: RunInputs, _ resume: RunCheckpoints.Resume?) async throws -> RunWorkers {
    let configuration = inputs.configuration
    let external = configuration.usesEngine && configuration.cluster.isExternal
      ? try await ExternalEngines.discover(inputs) : nil
    let actor = configuration.trains ? try inputs.actorSetup(resume) : nil
    let critic = configuration.trains && configuration.usesCritic ? try inputs.criticSetup(resume) : nil
    let (trainerCount, criticCount) = (actor?.layout.worldSize ?? 0, critic?.layout.worldSize ?? 0)
    let engineCount = configuration.usesEngine && external == nil ? configuration.cluster.engineCount : 0
    let ranksPerEngine = configuration.cluster.rolloutGPUsPerEngine
    let supervisor = Supervisor(controlPlane: ControlPlane())
    supervisor.endOnTerminationSignals()
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let counts = [(WorkerRole.trainer, trainerCount), (WorkerRole.critic, criticCount), (WorkerRole.engine, engineCount)]
    // Trainer, critic and engines take turns, so each may use all cores; ranks of one kind share them.
    func threads(_ count: Int) -> Int { max(1, cores / max(count, 1)) }
    do {
      try await supervisor.start(
        counts.flatMap { role, count in
          (0..<count).map {
            WorkerSpecification(
              ProcessName(role, $0),
              environment: WorkerRole.environment(
                role, threads: threads(role == WorkerRole.engine ? count * ranksPerEngine : count)),
              // Of several engines the others go on.
              isEssential: role != WorkerRole.engine || count == 1)
          }
        })
      async let trainers = startTrainers(.actor, actor, inputs, supervisor, threads: threads(trainerCount))
      async let critics = startTrainers(.critic, critic, inputs, supervisor, threads: threads(criticCount))
      // Engines that get the device's memory to themselves look for it when they start.
      let sleepers = configuration.offloadsTrainer ? [try await trainers, try await critics].compactMap { $0 } : []
      for trainers in sleepers { try await trainers.sleep() }
      async let launched = engineCount == 0
        ? nil
        : startEngines(inputs, supervisor, threads: threads(engineCount * ranksPerEngine), firstDevice: trainerCount)
      let own = try await launched
      let engines = own.map(RunEngines.launched) ?? external.map(RunEngines.external)
      let actors = try await trainers
      return RunWorkers(
        supervisor: supervisor, trainers: actors, critics: try await critics, engines: engines.map(\.pool),
        givingMemory: configuration.offloadsEngines ? own ?? [] : [],
        weightUpdate: try actors.flatMap { trainers in
          try engines.map {
            try configuration.weightUpdate(from: trainers, to: $0, isFloat8: inputs.model.storedQuantization != nil)
          }
        })
    } catch {
      let cause = await supervisor.cause(of: error)
      _ = await supervisor.shutDown()
      throw cause
    }
  }

  private static func startTrainers(
    _ role: TrainRole, _ setup: TrainerSetup?, _ inputs: RunInputs, _ supervisor: Supervisor, threads: Int
  ) async throws -> TrainerGroup? {
    guard var setup else { return nil }
    let configuration = inputs.configuration
    let group = TrainerGroup(
      try supervisor.resolveAll(TrainerActor.self, role: role == .actor ? WorkerRole.trainer : WorkerRole.critic))
    setup.threadCount = threads
    try await group.start(
      setup, role: role, withRef: role == .actor && configuration.algorithm.needsReference,
      withOPDTeacher: role == .actor && configuration.distillation.isOn,
      devices: group.ranks.indices.map { configuration.device($0) })
    return group
  }

  private static func startEngines(
    _ inputs: RunInputs, _ supervisor: Supervisor, threads: Int, firstDevice: Int
  ) async throws -> [WorkerEngine] {
    let configuration = inputs.configuration
    let actors = try supervisor.resolveAll(EngineActor.self, role: WorkerRole.engine)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, engine) in actors.enumerated() {
        var limits = configuration.engine
        limits.tensorParallelSize = configuration.cluster.rolloutGPUsPerEngine
        // Where a trainer stays on the device too, what the cache may take has to be said.
        if !configuration.cluster.colocate || (configuration.offloadsTrainer && configuration.offloadsEngines) {
          limits.memFractionStatic = limits.memFractionStatic ?? EngineConfiguration.memoryFraction
        }
        let first = index * limits.tensorParallelSize
        var setup = EngineSetup(
          folder: inputs.folder.url.path, dtype: configuration.backend.resolvedDType.tensorType,
          device: configuration.device(configuration.cluster.colocate ? first : firstDevice + first),
          limits: limits, randomSeed: configuration.data.rolloutSeed + index, threadCount: threads,
          modelProvider: configuration.checkpoint.modelProvider)
        // Where the trainer shares a GPU's memory, there is room for one copy of the weights, and nothing is sampled meanwhile.
        if configuration.cluster.colocate, configuration.backend.device == .cuda { setup.weightStaging = .inPlace }
        setup.givesMemoryBack = configuration.offloadsEngines
        group.addTask { [setup] in try await withDeadline(nil) { try await engine.start(setup) } }
      }
      try await group.waitForAll()
    }
    let timeout = Duration.seconds(configuration.cluster.distributedTimeoutMinutes * 60)
    return actors.map { WorkerEngine($0, weightTimeout: timeout) }
  }
}

/// The roles that `slime worker` knows.
public enum WorkerRole {
  public static let trainer = "trainer"
  public static let critic = "critic"
  public static let engine = "engine"

  /// What a worker's process is started with.
  static func environment(_ role: String, threads: Int) -> [String: String] {
    var environment = ["OMP_NUM_THREADS": "\(threads)"]
    let allocator = "PYTORCH_CUDA_ALLOC_CONF"
    // A trainer's allocations differ from micro-batch to micro-batch; memory between them would be lost otherwise.
    if role != engine, ProcessInfo.processInfo.environment[allocator] == nil {
      environment[allocator] = "expandable_segments:True"
    }
    return environment
  }

  /// Serves one role until the driver ends.
  public static func serve(_ name: ProcessName) async throws {
    try await WorkerProcess.serve(as: name) { controlPlane in
      switch name.role {
      case trainer, critic: [TrainerActor(actorSystem: controlPlane)]
      case engine: [EngineActor(actorSystem: controlPlane)]
      default: throw ConfigurationError("a worker's role is \(trainer), \(critic) or \(engine), not '\(name.role)'")
      }
    }
  }
}

extension TrainConfiguration {
  private var sharesGPUs: Bool { cluster.colocate && backend.device == .cuda && usesEngine && trains }
  /// Whether the trainer's optimizer, and the engines' weights and cache, are on the devices only while they are needed.
  var offloadsTrainer: Bool { sharesGPUs && cluster.offloadsTrainer ?? true }
  var offloadsEngines: Bool { sharesGPUs && cluster.offloadsEngines ?? true }

  func device(_ index: Int) -> Device { backend.device == .cuda ? .cuda(index) : .cpu }
}
