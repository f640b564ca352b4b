import Foundation
import Inference
import Orchestration
import Synchronization
import TestSupport
import Testing
import Torch
import WeightSync

/// Trainers and engines that are processes and die, or stand still, in the middle of an update.
@Suite(.serialized) struct KilledMidUpdateTests {
  private struct Workers {
    let supervisor: Supervisor
    /// They have the weights of seed 1, and the critics, which are trainers too, those of seed 2.
    let trainers: [TrainerActor]
    let critics: [TrainerActor]
    /// They begin with the weights of seed 0.
    let engines: [EngineActor]

    func pid(_ role: String, _ rank: Int) throws -> Int32 { try #require(workerPID(role, rank)) }
  }

  /// Runs `body` with worker processes.
  private func withWorkers(
    _ room: UpdateRoom, _ layout: TrainerLayout, engines: Int, tensor: Int = 1, _ body: (Workers) async throws -> Void
  ) async throws {
    let supervisor = makeSupervisor()
    let roles = [(WorkerRole.trainer, layout.ranks), (WorkerRole.critic, layout.ranks), (WorkerRole.engine, engines)]
    try await supervisor.start(
      roles.flatMap { role, count in
        (0..<count).map {
          WorkerSpecification(ProcessName(role, $0), environment: ["SLIME_TEST_LOOP": "1"], isEssential: false)
        }
      })
    do {
      let workers = Workers(
        supervisor: supervisor, trainers: try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.trainer),
        critics: try supervisor.resolveAll(TrainerActor.self, role: WorkerRole.critic),
        engines: try supervisor.resolveAll(EngineActor.self, role: WorkerRole.engine))
      for (ranks, seed) in [(workers.trainers, 1), (workers.critics, 2)] as [([TrainerActor], UInt64)] {
        try await TrainerGroup(ranks).start(
          layout.setup(room.model(.dense, seed: seed)), role: .actor, withRef: false, withOPDTeacher: false,
          devices: Array(repeating: .cpu, count: ranks.count))
      }
      for engine in workers.engines { try await engine.start(engineSetup(model: room.model(.dense, seed: 0), tensor: tensor)) }
      try await body(workers)
    } catch {
      await supervisor.shutDown()
      throw error
    }
    await supervisor.shutDown()
  }

  /// What happens to a process as a bucket is asked of it, or brought to it.
  private struct Blow: Sendable {
    let pid: Int32
    let bucket: Int
    var signal = SIGKILL
    private let count = Counter()

    init(_ pid: Int32, atBucket bucket: Int, signal: Int32 = SIGKILL) { (self.pid, self.bucket, self.signal) = (pid, bucket, signal) }

    func fall() { if count.next() == bucket { kill(pid, signal) } }
  }

  private struct DoomedSource: WeightSliceSource {
    let base: TrainerWeights
    let blow: Blow?
    let shares: Bool

    func weightShards() async throws -> [WeightShard] { try await base.weightShards() }
    func shareWeights() async throws -> SliceBucket? { shares ? try await base.shareWeights() : nil }
    func settleWeights() async throws {
      blow?.fall()
      try await base.settleWeights()
    }
    func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) async throws -> SliceBucket {
      blow?.fall()
      return try await base.fillBucket(shards, buffer: buffer, capacity: capacity)
    }
    func releaseWeights() async throws { try await base.releaseWeights() }
  }

  private struct DoomedTarget: WeightTarget {
    let base: WorkerEngine
    let blow: Blow?
    /// At the end instead.
    var fallsAtEnd = false

    var name: String { base.name }
    func weightShards() async throws -> [[WeightShard]] { try await base.weightShards() }
    func linkWeights(_ shared: [SliceBucket]) async throws { try await base.linkWeights(shared) }
    func copyLinkedWeights(version: String) async throws {
      blow?.fall()
      try await base.copyLinkedWeights(version: version)
    }
    func beginWeightUpdate() async throws { try await base.beginWeightUpdate() }
    func loadWeights(_ buckets: [SliceBucket]) async throws {
      if !fallsAtEnd { blow?.fall() }
      try await base.loadWeights(buckets)
    }
    func endWeightUpdate(version: String) async throws {
      if fallsAtEnd { blow?.fall() }
      try await base.endWeightUpdate(version: version)
    }
    func abandonWeightUpdate() async throws { try await base.abandonWeightUpdate() }
  }

  private func update(
    _ trainers: [TrainerActor], _ engines: [EngineActor], trainer doomed: (rank: Int, blow: Blow)? = nil,
    engine target: (rank: Int, blow: Blow)? = nil, fallsAtEnd: Bool = false, shares: Bool = false,
    timeout: Duration = .seconds(60)
  ) -> UpdateWeightFromTensor {
    UpdateWeightFromTensor(
      sources: trainers.enumerated().map { rank, trainer in
        DoomedSource(
          base: TrainerWeights(trainer, timeout: timeout), blow: doomed?.rank == rank ? doomed?.blow : nil, shares: shares)
      },
      targets: engines.enumerated().map { rank, engine in
        DoomedTarget(
          base: WorkerEngine(engine, weightTimeout: timeout), blow: target?.rank == rank ? target?.blow : nil,
          fallsAtEnd: fallsAtEnd)
      }, bufferSize: 12_000)
  }

  private func request(_ tokens: Int) -> GenerateRequest {
    var sampling = SamplingParameters()
    (sampling.temperature, sampling.maxNewTokens, sampling.ignoreEOS) = (0, tokens, true)
    return GenerateRequest(id: UUID().uuidString, tokens: [5, 9, 33], sampling: sampling, returnLogProbs: true)
  }

  @Test(arguments: [(0, SIGKILL), (1, SIGKILL), (1, SIGSTOP)])
  func aTrainerThatDiesLeavesTheOldVersionWhole(rank: Int, signal: Int32) async throws {
    let room = UpdateRoom()
    try await withWorkers(room, TrainerLayout(name: "tp 2", ranks: 2, tensor: 2), engines: 2, tensor: 2) { workers in
      let before = try await workers.engines[0].generate(request(12))
      let pid = try workers.pid(WorkerRole.critic, rank)
      defer { kill(pid, SIGKILL) }
      async let running = withDeadline(nil) { try await workers.engines[0].generate(request(100)) }
      let failing = update(
        workers.critics, workers.engines, trainer: (rank, Blow(pid, atBucket: 2, signal: signal)),
        timeout: signal == SIGKILL ? .seconds(60) : .seconds(3))
      let start = ContinuousClock.now
      let error = await #expect(throws: (any Error).self) { try await failing.update(version: "2") }
      #expect(ContinuousClock.now - start < .seconds(20))
      let sentence = "\(try #require(error))"
      #expect(sentence.contains("critic rank \(rank) (pid \(pid))"), "\(sentence)")
      for engine in workers.engines {
        try await expectWeights(of: engine, are: room.model(.dense, seed: 0), "after the death")
        let served = try await engine.generate(request(12))
        #expect(served.weightVersion == "default")
        #expect(served.outputLogProbs.map(\.token) == before.outputLogProbs.map(\.token))
      }
      #expect(try await running.outputTokens.count == 100)
      // The next update works.
      let report = try await update(workers.trainers, workers.engines).update(version: "3")
      #expect(report.failures.isEmpty)
      for engine in workers.engines {
        try await expectWeights(of: engine, are: room.model(.dense, seed: 1), "the next update")
        #expect(try await engine.status().weightVersion == "3")
      }
    }
  }

  @Test(arguments: [false, true]) func theOthersFinishWhenAnEngineDies(atEnd: Bool) async throws {
    let room = UpdateRoom()
    try await withWorkers(room, TrainerLayout(name: "fsdp 2", ranks: 2, backend: .fsdp), engines: 3) { workers in
      let pid = try workers.pid(WorkerRole.engine, 1)
      let killing = update(
        workers.trainers, workers.engines, engine: (1, Blow(pid, atBucket: atEnd ? 0 : 2)), fallsAtEnd: atEnd)
      let report = try await killing.update(version: "1")
      #expect(report.failures.map(\.index) == [1])
      let sentence = report.failures.first?.description ?? ""
      let operation = atEnd ? "the end of the update to version 1" : "bucket 3 of "
      #expect(sentence.hasPrefix("engine rank 1 failed at \(operation)"), "\(sentence)")
      #expect(sentence.hasSuffix("engine rank 1 (pid \(pid)) was killed by signal 9 (SIGKILL)"), "\(sentence)")
      // The others have it, and so does the next one reach them.
      for (version, trainers, seed) in [("1", nil, 1), ("2", workers.critics, 2)] as [(String, [TrainerActor]?, UInt64)] {
        if let trainers {
          let next = try await update(trainers, workers.engines).update(version: version)
          #expect(next.failures.map(\.index) == [1])
        }
        for rank in [0, 2] {
          try await expectWeights(of: workers.engines[rank], are: room.model(.dense, seed: seed), "engine \(rank)")
          let served = try await workers.engines[rank].generate(request(8))
          #expect(served.weightVersion == version && served.outputTokens.count == 8)
        }
      }
    }
  }

  /// A trainer that dies before engines copy its weights leaves the old version; one that dies after they have opened them is
  /// not needed any more.
  @Test(arguments: [false, true]) func sharedWeightsComeWholeOrNotAtAll(areOpen: Bool) async throws {
    let room = UpdateRoom()
    try await withWorkers(room, TrainerLayout(name: "tp 2", ranks: 2, tensor: 2), engines: 2, tensor: 2) { workers in
      let blow = Blow(try workers.pid(WorkerRole.trainer, 1), atBucket: 0)
      let dying = update(
        workers.trainers, workers.engines, trainer: areOpen ? nil : (1, blow), engine: areOpen ? (0, blow) : nil, shares: true)
      if areOpen {
        #expect(try await dying.update(version: "1").failures.isEmpty)
      } else {
        await #expect(throws: (any Error).self) { try await dying.update(version: "1") }
      }
      for engine in workers.engines {
        try await expectWeights(of: engine, are: room.model(.dense, seed: areOpen ? 1 : 0), "after the death")
        #expect(try await engine.generate(request(8)).weightVersion == (areOpen ? "1" : "default"))
      }
      // Another trainer takes its place.
      let next = update(workers.critics, workers.engines, shares: true)
      #expect(try await next.update(version: "2").failures.isEmpty)
      for engine in workers.engines {
        try await expectWeights(of: engine, are: room.model(.dense, seed: 2), "the next update")
      }
    }
  }

  @Test func theOthersCopySharedWeightsWhenAnEngineDies() async throws {
    let room = UpdateRoom()
    try await withWorkers(room, TrainerLayout(name: "fsdp 2", ranks: 2, backend: .fsdp), engines: 2) { workers in
      let pid = try workers.pid(WorkerRole.engine, 0)
      let killing = update(workers.trainers, workers.engines, engine: (0, Blow(pid, atBucket: 0)), shares: true)
      for version in ["1", "2"] {
        let report = try await killing.update(version: version)
        #expect(report.failures.map(\.index) == [0])
        try await expectWeights(of: workers.engines[1], are: room.model(.dense, seed: 1), "engine 1")
        #expect(try await workers.engines[1].status().weightVersion == version)
      }
    }
  }
}
