import Checkpoints
import Foundation
import Inference
import Orchestration
import TestSupport
import Testing
import Torch
import WeightSync

/// Layers that an engine drafts with, on their way from a trainer: they come along where they are trained, and stay where not.
@Suite(.serialized) struct PredictionUpdateTests {
  private static let copies = ["embed_tokens.weight", "shared_head.head.weight"]

  /// The model, or the same with other weights.
  private static func write(_ name: String, to folder: URL, changed: Bool) throws {
    let model = try HuggingFaceFolder(fixture("drafts/\(name)/model"))
    let files = try model.weights()
    let names = files.names.filter { name in !copies.contains(where: name.hasSuffix) || name == "model.embed_tokens.weight" }
    try HuggingFaceFolder.save(
      to: folder, config: model.config,
      tensors: names.map { TensorSource($0, try files.tensor($0) * (changed ? 1.125 : 1)) })
    try FileManager.default.copyItem(
      at: fixture("Tokenization/tokenizers/byte/tokenizer.json"), to: folder.appendingPathComponent("tokenizer.json"))
  }

  private static func isOfLayer(_ name: String) -> Bool { name.contains(".mtp_layers.") || name.contains(".layers.2.") }

  @Test(arguments: ["mimo-nextn", "deepseek-nextn"], [
    TrainerLayout(name: "tp 2 pp 2", ranks: 4, tensor: 2, pipeline: 2),
    TrainerLayout(name: "fsdp 2", ranks: 2, backend: .fsdp),
  ])
  func layersComeOrStay(name: String, layout: TrainerLayout) async throws {
    let room = UpdateRoom()
    let (old, new) = (room.url.appendingPathComponent("old"), room.url.appendingPathComponent("new"))
    for folder in [old, new] { try Self.write(name, to: folder, changed: folder == new) }
    let (before, after) = (try HuggingFaceFolder(old).weights(), try HuggingFaceFolder(new).weights())
    for trains in [true, false] {
      let trainers = try await InProcess.trainers(layout, model: new) { $0.predictionCoefficient = trains ? 0.2 : nil }
      var setup = engineSetup(model: old, tensor: 2)
      setup.limits.speculation = .nextN
      let engine = EngineActor(actorSystem: ControlPlane(process: ProcessName(WorkerRole.engine, 0)))
      try await engine.start(setup)
      let report = try await UpdateWeightFromTensor(trainers, [engine], bufferSize: 20_000).update(version: "1")
      #expect(report.failures.isEmpty)
      for name in after.names {
        let files = Self.isOfLayer(name) && !trains ? before : after
        let expected = try files.tensor(name).withBytes { Data($0) }
        #expect(try await engine.weight(named: name)?.bytes == expected, "\(layout.name): \(name)")
      }
      // A folder has them in any case.
      let saved = room.url.appendingPathComponent("saved-\(trains)")
      try await TrainerGroup(trainers).saveHuggingFace(to: saved, dtype: .float32)
      let files = try HuggingFaceFolder(saved).weights()
      #expect(files.names.sorted() == after.names.sorted())
      for name in after.names { #expect(try files.tensor(name).equal(after.tensor(name)), "\(layout.name): \(name)") }
      try await engine.loadWeights(from: saved.path, version: "2")
      for name in after.names {
        #expect(try await engine.weight(named: name)?.bytes == after.tensor(name).withBytes { Data($0) }, "\(name)")
      }
    }
  }
}
