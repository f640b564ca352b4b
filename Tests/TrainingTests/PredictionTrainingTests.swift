import Checkpoints
import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// Layers that predict tokens further on, trained beside the model, on any layout against PyTorch.
@Suite struct PredictionTrainingTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let layout: Layout
    var checkpoints = false
    var testDescription: String { "\(name), \(layout.testDescription)\(checkpoints ? " checkpointing" : "")" }
  }

  private static let again = MegatronLayoutTests.options(.uniform(layers: 1))

  static let cases = [
    Layout(), Layout(tensor: 1, tokensPerPack: 10), Layout(tensor: 2), Layout(tensor: 2, sequence: true), Layout(data: 2),
    Layout(context: 2), Layout(context: 2, format: .padded), Layout(pipeline: 2), Layout(options: again),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2), Layout(pipeline: 2, data: 2, options: again),
    Layout(isFSDP: true), Layout(data: 2, isFSDP: true), Layout(context: 2, data: 2, isFSDP: true, shardSize: 2),
  ].map { Case(name: "mimo", layout: $0) } + [
    Layout(), Layout(tensor: 2, sequence: true), Layout(pipeline: 2), Layout(context: 2, data: 3, expert: 3),
    Layout(tensor: 2, sequence: true, pipeline: 2, options: again), Layout(data: 2, isFSDP: true),
    Layout(data: 3, expert: 3, isFSDP: true),
  ].map { Case(name: "deepseek", layout: $0) } + [
    Layout(), Layout(tensor: 2, sequence: true), Layout(context: 2, pipeline: 2), Layout(data: 2, expert: 2),
    Layout(data: 2, isFSDP: true),
  ].map { Case(name: "qwen3-next", layout: $0) } + ["mimo", "deepseek"].map {
    Case(name: $0, layout: Layout(data: 2, isFSDP: true), checkpoints: true)
  }

  private static func model(_ name: String) throws -> TinyModel { try TinyModel(fixture: "\(name)/model", in: "prediction") }

  private static func reference(_ name: String) throws -> SafetensorsFile {
    try SafetensorsFile(fixture("prediction/\(name)/reference.safetensors"))
  }

  /// The samples of the reference.
  private static func batch(_ name: String) throws -> TrainBatch {
    let reference = try reference(name)
    let tokens: [Int] = try reference.tensor("tokens").array()
    let bounds: [Int] = try reference.tensor("cu_seqlens").array()
    let responses: [Int] = try reference.tensor("response_lengths").array()
    let masks: [Int] = try reference.tensor("loss_mask").array()
    var batch = TrainBatch(rolloutID: 0)
    var first = 0
    for (sample, response) in responses.enumerated() {
      batch.add(
        tokens: tokens[bounds[sample]..<bounds[sample + 1]].map(Int32.init),
        mask: masks[first..<first + response].map(UInt8.init), sample: sample)
      first += response
    }
    return batch
  }

  private static let rate = 100.0

  /// A step of Adam from nothing moves a weight by rate · g / (|g| + 1): gradients can be read from weights.
  @Sendable private static func adjust(_ options: inout TrainingOptions) {
    options.loss = .supervised
    options.schedule = try! LearningRateSchedule(initial: rate, peak: rate, decaySteps: 1000)
    options.optimizer = AdamW.Options(epsilon: 1, weightDecay: 0)
    options.clipGradient = 0
  }

  @Test(arguments: cases) func gradientsAreThoseOfPyTorch(_ given: Case) async throws {
    let (model, reference) = (try Self.model(given.name), try Self.reference(given.name))
    let outcome = try await run(model, given.layout, [try Self.batch(given.name)]) { options in
      Self.adjust(&options)
      options.predictionCoefficient = 0.2
      options.gradientCheckpointing = given.checkpoints
    }
    let losses: [Float] = try reference.tensor("loss").array()
    for (layer, loss) in losses.enumerated() {
      let found = outcome.steps[0][losses.count == 1 ? "mtp_loss" : "mtp_\(layer + 1)_loss"] ?? .nan
      #expect(abs(found - Double(loss)) < 1e-5 * Double(loss), "\(given.testDescription): \(found), not \(loss)")
    }
    let folder = try HuggingFaceFolder(model.url)
    let whole = try ModelRegistry.configuration(of: folder).withPredictionLayers().model(parallel: .single(), dtype: .float32)
    try whole.load(folder, dtype: .float32, device: .cpu)
    var assembly = StoredLayout(whole).assembly()
    var (found, expected) = ([String: [Float]](), [String: [Float]]())
    for parameter in whole.table.parameters where whole.configuration.isOfPredictionLayer(parameter.name) {
      for (name, weight) in checkpointTensors(parameter, parameter.tensor) {
        let (before, after): ([Float], [Float]) = (weight.array(), try #require(outcome.weights[name]))
        guard !CausalLM.isConstant(name) else {
          #expect(after == before)
          continue
        }
        let gradient = zip(before, after).map { before, after in
          let moved = (Double(before) - Double(after)) / Self.rate
          return Float(moved / (1 - abs(moved)))
        }
        if let stored = assembly.add(name, Tensor(gradient, shape: weight.shape)) { found[stored.name] = stored.tensor.array() }
      }
    }
    for tensor in reference.tensors where tensor.name.hasPrefix("gradient.") {
      expected[String(tensor.name.dropFirst("gradient.".count))] = try reference.tensor(tensor.name).array()
    }
    let (name, error) = distance(found, expected)
    #expect(error < 2e-4, "\(given.testDescription): gradients of \(name) differ by \(error)")
  }

  /// The loss, and all weights but those of the layers, are the same with and without.
  @Test(arguments: ["mimo", "deepseek"], [Layout(), Layout(isFSDP: true)])
  func nothingElseLearnsOfIt(name: String, layout: Layout) async throws {
    let (model, batch) = (try Self.model(name), try Self.batch(name))
    let plain = try await run(model, layout, [batch]) { Self.adjust(&$0) }
    let found = try await run(model, layout, [batch]) { options in
      Self.adjust(&options)
      options.predictionCoefficient = 0.2
    }
    #expect(found.steps[0]["loss"] == plain.steps[0]["loss"] && found.steps[0]["grad_norm"] != plain.steps[0]["grad_norm"])
    let (worst, error) = distance(found.weights.filter { plain.weights[$0.key] != nil }, plain.weights)
    #expect(error < 1e-6, "\(worst) differs by \(error)")
    #expect(found.weights.count > plain.weights.count)
  }

  /// What is read of the embedding at the pipeline's other end is as new as the step.
  @Test(arguments: ["mimo", "deepseek"]) func severalStepsAreThoseOfOneRank(_ name: String) async throws {
    let (model, batch) = (try Self.model(name), try Self.batch(name))
    func outcome(_ layout: Layout) async throws -> LayoutOutcome {
      try await run(model, layout, [batch, batch, batch]) { options in
        options.predictionCoefficient = 0.2
        (options.loss, options.optimizer.epsilon) = (.supervised, 1e-2)
      }
    }
    let expected = try await outcome(Layout())
    for layout in [Layout(pipeline: 2), Layout(tensor: 2, sequence: true, pipeline: 2)] {
      expectEqual(try await outcome(layout), expected, "\(name), \(layout.testDescription)")
    }
  }

  /// A state goes on under another layout; one that was saved without the layers begins with those of the folder.
  @Test(arguments: [
    (Layout(pipeline: 2), Layout(tensor: 2, sequence: true)), (Layout(data: 2, isFSDP: true), Layout(isFSDP: true)),
  ])
  func statesMove(first: Layout, second: Layout) async throws {
    let batch = try Self.batch("deepseek")
    func run(_ layout: Layout, trains: Bool, _ batches: [TrainBatch], from state: URL? = nil, to target: URL? = nil) async throws -> LayoutOutcome {
      try await TrainingTests.run(
        try Self.model("deepseek"), layout, batches, resuming: state, saving: target
      ) { options in
        options.loss = .supervised
        options.predictionCoefficient = trains ? 0.2 : nil
      }
    }
    for trains in [true, false] {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-state-" + UUID().uuidString)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: folder) }
      let before = try await run(first, trains: trains, [batch], to: folder)
      let fresh = try await run(second, trains: true, [])
      let after = try await run(second, trains: true, [], from: folder)
      #expect(after.weights == fresh.weights.merging(before.weights) { $1 } && after.weights != fresh.weights)
      let next = try await run(second, trains: true, [batch], from: folder)
      #expect(next.steps[0]["mtp_loss"]!.isFinite)
    }
  }
}
