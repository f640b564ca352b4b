import Checkpoints
import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// Trainers that let the device go between steps.
@Suite(.serialized, .onGPU) struct SleepOnGPUTests {
  private static func backend(_ kind: String, _ device: Device) throws -> any TrainBackend {
    var options = TrainingOptions(
      schedule: try LearningRateSchedule(peak: 1e-3, decaySteps: 100), globalBatchSize: 1, batching: .fixed(microBatchSize: 1))
    (options.loss, options.computeType) = (.supervised, .bfloat16)
    let (folder, parallel) = (try HuggingFaceFolder(fixture("models/qwen3-tied")), ParallelContext.single(device))
    return kind == "fsdp"
      ? try FSDPBackend(folder, options: options, parallel: parallel)
      : try MegatronBackend(folder, options: options, parallel: parallel)
  }

  /// Norms of the gradients of some steps.
  private static func norms(_ backend: any TrainBackend, _ device: Device, between: () throws -> Void) throws -> [Double] {
    let pack = PackedBatch([(tokens: ArraySlice((0..<64).map { Int32($0 * 7 % 90) }), responseLength: 63)], device: device)
    return try (0..<4).map { _ in
      let step = try catchingTorchErrors {
        backend.accumulate([pack], temperature: 1) { _, output, _ in -output.perToken.mean() }
        return try backend.applyGradients(learningRate: 1e-3)
      }
      try between()
      return step.norm
    }
  }

  @Test(arguments: ["megatron", "fsdp"]) func stepsAreThoseOfATrainerThatStayed(kind: String) throws {
    let device = try GPU.open()
    let staying = try Self.norms(Self.backend(kind, device), device) {}
    let backend = try Self.backend(kind, device)
    let sleeping = try Self.norms(backend, device) {
      try backend.sleep()
      // The weights are there all the same.
      #expect(backend.heldWeights.allSatisfy { $0.values.to(dtype: .float32).sum().item().isFinite })
      try backend.wakeUp()
    }
    #expect(staying.allSatisfy { $0 > 0 } && Set(staying).count == 4)
    for (one, other) in zip(staying, sleeping) { #expect(abs(one - other) < 1e-3 * one, "\(staying) \(sleeping)") }
  }
}
