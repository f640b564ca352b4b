import Foundation
import Parallelism
import RLAlgorithms
import TestSupport
import Testing
import Torch
import Training

/// Any layout against one rank: losses, norms, log-probabilities, gradients, and weights after ten steps.
@Suite struct MegatronLayoutTests {
  static func options(
    perVirtualStage: Int? = nil, first: Int? = nil, last: Int? = nil, _ recomputation: Recomputation = .none
  ) -> MegatronOptions {
    var options = MegatronOptions()
    (options.layersPerVirtualStage, options.firstStageLayers, options.lastStageLayers) = (perVirtualStage, first, last)
    options.recomputation = recomputation
    return options
  }

  static let layouts = [
    Layout(tensor: 2), Layout(tensor: 4), Layout(tensor: 2, sequence: true), Layout(tensor: 4, sequence: true),
    Layout(data: 2), Layout(data: 4), Layout(context: 2), Layout(context: 4),
    Layout(pipeline: 2), Layout(pipeline: 4), Layout(pipeline: 2, options: options(perVirtualStage: 1)),
    Layout(pipeline: 2, options: options(first: 1)), Layout(pipeline: 3, options: options(first: 1, last: 1)),
    Layout(tensor: 2, sequence: true, context: 2), Layout(tensor: 2, context: 2, data: 2),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2), Layout(context: 2, pipeline: 2, data: 2),
    Layout(tensor: 2, pipeline: 2, data: 2, options: options(perVirtualStage: 1)),
    Layout(tensor: 4, sequence: true, pipeline: 2), Layout(tensor: 2, sequence: true, data: 4),
    Layout(context: 2, format: .padded), Layout(tensor: 2, sequence: true, pipeline: 2, format: .padded),
    Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, options: options(.uniform(layers: 1))),
    Layout(tensor: 2, context: 2, options: options(.selective)),
    Layout(pipeline: 2, options: options(.block(layers: 1))), Layout(options: options(.uniform(layers: 2))),
    Layout(tensor: 1, tokensPerPack: 10), Layout(tensor: 1, tokensPerPack: 10_000),
  ]

  private static let batches = (0..<5).map { randomBatch(samples: 16, seed: UInt64($0)) }
  private static let sequences = (1...9).map { length in (0..<length * 2).map { Int32(($0 * 7 + length) % 67) } }

  private static let reference = Task {
    try await run(TinyModel(), Layout(), batches, scoring: sequences)
  }

  @Test(arguments: layouts) func tenStepsAreThoseOfOneRank(_ layout: Layout) async throws {
    let expected = try await Self.reference.value
    let found = try await run(TinyModel(), layout, Self.batches, scoring: Self.sequences)
    expectEqual(found, expected, "\(layout.testDescription)")
    #expect(found.scores.map(\.index) == expected.scores.map(\.index))
    for (found, expected) in zip(found.scores, expected.scores) {
      let pairs = zip(found.logProbs + found.entropy, expected.logProbs + expected.entropy)
      let worst: Float = pairs.map { abs($0 - $1) }.max() ?? 0
      #expect(found.logProbs.count == expected.logProbs.count && worst < 1e-4, "\(layout.testDescription): \(worst)")
    }
  }

  static let resumptions: [(Layout, Layout)] = [
    (Layout(), Layout(tensor: 4, sequence: true, pipeline: 2)), (Layout(tensor: 2, context: 2, data: 2), Layout(data: 3)),
    (Layout(pipeline: 2, data: 2, options: options(perVirtualStage: 1)), Layout(tensor: 2, context: 2)),
    (Layout(tensor: 4), Layout(pipeline: 3, options: options(first: 1, last: 1))),
  ]

  /// Saved under one layout and loaded under another: the state is the same bit for bit, and training goes on as it would have.
  @Test(arguments: resumptions, [false, true])
  func aSavedStateGoesOnUnderAnyLayout(_ layouts: (Layout, Layout), tied: Bool) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-state-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let model = try TinyModel(["tie_word_embeddings": .bool(tied), "attention_bias": true])
    let expected = try await run(model, Layout(), Array(Self.batches[..<3]))
    let before = try await run(model, layouts.0, Array(Self.batches[..<2]), saving: folder)
    let reloaded = try await run(model, layouts.1, [], resuming: folder)
    #expect(reloaded.weights == before.weights)
    var found = try await run(model, layouts.1, [Self.batches[2]], resuming: folder)
    (found.steps, found.rollout) = (before.steps + found.steps, before.rollout + found.rollout)
    expectEqual(found, expected, "\(layouts)")
  }
}
