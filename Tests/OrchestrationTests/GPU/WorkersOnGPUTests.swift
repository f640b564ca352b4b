import Foundation
import Inference
import Orchestration
import TestSupport
import Testing
import Torch
import Training
import WeightSync

/// A trainer's and an engine's process on one GPU.
@Suite(.serialized, .onGPU) struct WorkersOnGPUTests {
  private func withWorkers(
    _ room: UpdateRoom, _ backend: TrainBackendKind, _ body: (Supervisor, TrainerActor, EngineActor) async throws -> Void
  ) async throws {
    let device = try GPU.open()
    let supervisor = makeSupervisor()
    try await supervisor.start(
      [WorkerRole.trainer, WorkerRole.engine].map { role in
        WorkerSpecification(ProcessName(role), environment: ["SLIME_TEST_LOOP": "1"], isEssential: false)
      })
    do {
      let trainer = try supervisor.resolve(TrainerActor.self, on: ProcessName(WorkerRole.trainer))
      let engine = try supervisor.resolve(EngineActor.self, on: ProcessName(WorkerRole.engine))
      var setup = try TrainerLayout(name: "1 rank", ranks: 1, backend: backend).setup(room.model(.dense, seed: 1))
      setup.options.computeType = .bfloat16
      try await TrainerGroup([trainer]).start(
        setup, role: .actor, withRef: false, withOPDTeacher: false, devices: [device])
      var own = engineSetup(model: try room.model(.dense, seed: 0), dtype: .bfloat16)
      own.device = device
      try await withDeadline(nil) { [own] in try await engine.start(own) }
      try await body(supervisor, trainer, engine)
    } catch {
      await supervisor.shutDown()
      throw error
    }
    await supervisor.shutDown()
  }

  @Test(arguments: [TrainBackendKind.megatron, .fsdp], [true, false])
  func weightsGoFromProcessToProcess(_ backend: TrainBackendKind, inPlace: Bool) async throws {
    let room = UpdateRoom()
    try await withWorkers(room, backend) { _, trainer, engine in
      let update = UpdateWeightFromTensor([trainer], [engine], bufferSize: inPlace ? nil : 20_000)
      for version in ["1", "2"] {
        try await update.update(version: version)
        try await expectWeights(of: engine, are: room.model(.dense, seed: 1), dtype: .bfloat16, "version \(version)")
        #expect(try await engine.status().weightVersion == version)
      }
    }
  }

  /// What an engine has opened stays readable when the process that made it is killed.
  @Test func openWeightsOutliveTheirTrainer() async throws {
    let room = UpdateRoom()
    try await withWorkers(room, .megatron) { _, trainer, engine in
      let weights = TrainerWeights(trainer, timeout: .seconds(60))
      let shared = try #require(try await weights.shareWeights())
      try await weights.settleWeights()
      let target = WorkerEngine(engine, weightTimeout: .seconds(60))
      try await target.linkWeights([shared])
      kill(try #require(workerPID(WorkerRole.trainer, 0)), SIGKILL)
      try await Task.sleep(for: .milliseconds(500))
      try await target.copyLinkedWeights(version: "1")
      try await expectWeights(of: engine, are: room.model(.dense, seed: 1), dtype: .bfloat16, "after the death")
    }
  }
}
