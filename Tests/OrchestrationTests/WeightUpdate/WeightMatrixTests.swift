import Foundation
import Inference
import Orchestration
import TestSupport
import Testing
import Torch
import WeightSync

/// From every layout of a trainer to every layout of engines.
@Suite(.serialized) struct WeightMatrixTests {
  @Test(arguments: UpdateModel.allCases) func everyTrainerToEveryEngine(model: UpdateModel) async throws {
    let room = UpdateRoom()
    let old = try room.model(model, seed: 0)
    let one = try await InProcess.engine(model: old)
    let split = try await InProcess.engine(model: old, tensor: 2)
    let divided = model.hasExperts ? try await InProcess.engine(model: old, tensor: 2, expert: 2) : nil
    let pair = [try await InProcess.engine(0, model: old), try await InProcess.engine(1, model: old, tensor: 2)]
    let narrow = try await InProcess.engine(model: old, dtype: .bfloat16)
    for (index, layout) in TrainerLayout.all.enumerated() where model.hasExperts || layout.expert == 1 {
      let new = try room.model(model, seed: UInt64(index + 1))
      let trainers = try await InProcess.trainers(layout, model: new)
      for (place, (name, engines, bufferSize, dtype)) in ([
        ("tp 1", [one], 10_000, .float32), ("tp 2", [split], 1 << 20, .float32), ("two engines", pair, 30_000, .float32),
        ("tp 2 ep 2", divided.map { [$0] } ?? [], 5_000, .float32), ("bf16", [narrow], 8_000, .bfloat16),
      ] as [(String, [EngineActor], Int, DType)]).enumerated() where !engines.isEmpty {
        // Every second one is read in place.
        let update = UpdateWeightFromTensor(trainers, engines, bufferSize: (index + place).isMultiple(of: 2) ? nil : bufferSize)
        let report = try await update.update(version: "\(index)")
        #expect(report.failures.isEmpty)
        for engine in engines {
          try await expectWeights(of: engine, are: new, dtype: dtype, "\(model), \(layout.name) to \(name)")
          #expect(try await engine.status().weightVersion == "\(index)")
        }
      }
    }
  }

  /// No rank sends more than its share.
  @Test func theWorkIsSpread() async throws {
    let room = UpdateRoom()
    for layout in TrainerLayout.all {
      let model = try room.model(.experts, seed: 1)
      let trainers = try await InProcess.trainers(layout, model: model)
      var held: [[WeightShard]] = []
      for trainer in trainers { held.append(try await trainer.weightShards()) }
      let wanted = try await InProcess.engine(model: model, tensor: 2).weightShards()
      let plan = try CopyPlan(from: held, to: [wanted])
      let total = held[0].isEmpty ? 0 : plan.bytesBySource.reduce(0, +)
      // Every element once.
      #expect(total == Dictionary(grouping: wanted.joined(), by: \.name).values.reduce(0) { $0 + $1[0].shape.reduce(4, *) })
      for bytes in plan.bytesBySource { #expect(Double(bytes) < 1.35 * Double(total) / Double(layout.ranks), "\(layout.name)") }
    }
  }
}
