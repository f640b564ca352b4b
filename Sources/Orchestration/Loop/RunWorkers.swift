import Foundation
import Torch

/// The processes of a run: trainer ranks and engines, with the driver as their parent.
struct RunWorkers {
  let supervisor: Supervisor
  let trainers: TrainerGroup?
  let engines: EnginePool?

  /// Starts processes and waits until each has loaded its model.
  /// - Parameter stateFolder: the training state to continue from.
  static func start(_ inputs: RunInputs, stateFolder: URL?) async throws -> RunWorkers {
    let configuration = inputs.configuration
    let (trainerCount, engineCount) = (
      configuration.trains ? configuration.cluster.trainerRanks : 0,
      configuration.usesEngine ? configuration.cluster.engineCount : 0
    )
    let supervisor = Supervisor(controlPlane: ControlPlane())
    supervisor.endOnTerminationSignals()
    let cores = ProcessInfo.processInfo.activeProcessorCount
    let names = (0..<trainerCount).map { ProcessName(WorkerRole.trainer, $0) }
      + (0..<engineCount).map { ProcessName(WorkerRole.engine, $0) }
    // Trainer and engines take turns, so each may use all cores; ranks of one kind share them.
    func threads(_ count: Int) -> Int { max(1, cores / max(count, 1)) }
    do {
      try await supervisor.start(
        names.map { name in
          let count = threads(name.role == WorkerRole.trainer ? trainerCount : engineCount)
          return WorkerSpecification(name, environment: ["OMP_NUM_THREADS": "\(count)"])
        })
      async let trainers = trainerCount == 0
        ? nil : startTrainers(inputs, supervisor, count: trainerCount, threads(trainerCount), stateFolder)
      async let engines = engineCount == 0
        ? nil
        : startEngines(inputs, supervisor, count: engineCount, threads(engineCount), firstDevice: trainerCount)
      return RunWorkers(supervisor: supervisor, trainers: try await trainers, engines: try await engines)
    } catch {
      let cause = await supervisor.cause(of: error)
      _ = await supervisor.shutDown()
      throw cause
    }
  }

  private static func startTrainers(
    _ inputs: RunInputs, _ supervisor: Supervisor, count: Int, _ threads: Int, _ stateFolder: URL?
  ) async throws -> TrainerGroup {
    let configuration = inputs.configuration
    let group = TrainerGroup(try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.trainer))
    let setup = TrainerSetup(
      folder: inputs.folder.url.path, referenceFolder: configuration.checkpoint.referenceLoad,
      backend: configuration.backend.trainBackend, layout: try configuration.backend.parallel.layout(worldSize: count),
      options: try configuration.trainingOptions(rolloutCount: inputs.rolloutCount), rank: 0, storePort: 0,
      device: .cpu, threadCount: threads, timeoutSeconds: configuration.cluster.distributedTimeoutMinutes * 60,
      stateFolder: stateFolder?.path)
    try await group.start(setup, devices: (0..<count).map { configuration.device($0) })
    return group
  }

  private static func startEngines(
    _ inputs: RunInputs, _ supervisor: Supervisor, count: Int, _ threads: Int, firstDevice: Int
  ) async throws -> EnginePool {
    let configuration = inputs.configuration
    let actors = try supervisor.resolveAll(EngineActor.self, role: WorkerRole.engine)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, engine) in actors.enumerated() {
        let setup = EngineSetup(
          folder: inputs.folder.url.path, dtype: configuration.backend.resolvedDType.tensorType,
          device: configuration.device(configuration.cluster.colocate ? index : firstDevice + index),
          limits: configuration.engine, randomSeed: configuration.data.rolloutSeed + index, threadCount: threads)
        group.addTask { try await withDeadline(nil) { try await engine.start(setup) } }
      }
      try await group.waitForAll()
    }
    return EnginePool(actors)
  }
}

/// The roles that `slime worker` knows.
public enum WorkerRole {
  public static let trainer = "trainer"
  public static let engine = "engine"

  /// Serves one role until the driver ends.
  public static func serve(_ name: ProcessName) async throws {
    try await WorkerProcess.serve(as: name) { controlPlane in
      switch name.role {
      case trainer: [TrainerActor(actorSystem: controlPlane)]
      case engine: [EngineActor(actorSystem: controlPlane)]
      default: throw ConfigurationError("a worker's role is \(trainer) or \(engine), not '\(name.role)'")
      }
    }
  }
}

extension TrainConfiguration {
  func device(_ index: Int) -> Device { backend.device == .cuda ? .cuda(index) : .cpu }
}
