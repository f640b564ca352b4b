import Checkpoints
import Foundation
import Models
import TestSupport
import Testing
import Torch
import Training

/// Training on pictures under every kind of parallelism, against one rank: losses, norms and weights, the tower's too.
@Suite struct VisionLayoutTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let layout: Layout
    var testDescription: String { "\(name), \(layout.testDescription)" }
  }

  private static let stages = MegatronLayoutTests.options(first: 2)

  static let cases: [Case] = {
    var again = MegatronOptions()
    again.recomputation = .uniform(layers: 2)
    let dense = [
      Layout(tensor: 2), Layout(tensor: 2, sequence: true), Layout(context: 2), Layout(pipeline: 2, options: stages),
      Layout(options: again), Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, options: stages),
      Layout(data: 2, isFSDP: true), Layout(context: 2, isFSDP: true),
    ]
    let mixture = [Layout(tensor: 2, sequence: true, expert: 2, expertTensor: 1), Layout(data: 2, expert: 2, isFSDP: true)]
    // Of the other families, what windows and states could break.
    let few = [Layout(context: 2), Layout(data: 2, isFSDP: true)]
    let hybrid = few + [
      Layout(context: 2, format: .padded), Layout(options: again), Layout(context: 2, isFSDP: true),
      Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, options: stages),
    ]
    return dense.map { Case(name: "qwen3-vl", layout: $0) } + few.map { Case(name: "qwen2.5-vl", layout: $0) }
      + hybrid.map { Case(name: "qwen3.5", layout: $0) }
      + ["qwen3-vl-moe", "qwen3.5-moe"].flatMap { name in mixture.map { Case(name: name, layout: $0) } }
  }()

  /// Every other sample has a picture or two before its prompt.
  private static func batch(_ model: ModelConfiguration) throws -> TrainBatch {
    let plain = randomBatch(samples: 16, seed: 3, vocabulary: 89, longest: 12)
    let pictures = try ["00-rgb.png", "03-grey.png", "09-grey-alpha.png", "17-grey.png"].map {
      try Data(contentsOf: fixture("images/\($0)"))
    }
    var batch = plain
    (batch.tokens, batch.totalLengths, batch.images) = ([], [], [])
    let token = Int32(try #require(model.vision).imageToken)
    for (sample, range) in plain.tokenRanges.enumerated() {
      let images = sample % 2 == 0 ? [] : (0...sample % 4 / 2).map { pictures[(sample + $0) % pictures.count] }
      let grids = try model.imageGrids(images)
      let tokens = grids.flatMap { [7] + repeatElement(token, count: $0.count / 4) } + plain.tokens[range]
      batch.tokens += tokens
      batch.totalLengths.append(Int32(tokens.count))
      batch.images!.append(images)
    }
    return batch
  }

  private static func outcome(_ name: String, _ layout: Layout) async throws -> LayoutOutcome {
    let model = try TinyModel(fixture: name, in: "vision")
    let configuration = try ModelRegistry.configuration(of: HuggingFaceFolder(model.url))
    return try await run(model, layout, [batch(configuration)]) { $0.optimizer.epsilon = 1e-2 }
  }

  private static let references = LayoutReferences { try await VisionLayoutTests.outcome($0, $1) }

  @Test(arguments: cases) func layoutsAreThoseOfOneRank(_ given: Case) async throws {
    let expected = try await Self.references.outcome(given.name, isFSDP: given.layout.isFSDP)
    let found = try await Self.outcome(given.name, given.layout)
    expectEqual(found, expected, given.testDescription)
  }

  /// What is trained on depends on the pictures, and the tower learns from them.
  @Test func picturesMatter() async throws {
    let model = try TinyModel(fixture: "qwen3-vl", in: "vision")
    let folder = try HuggingFaceFolder(model.url)
    let configuration = try ModelRegistry.configuration(of: folder)
    let batch = try Self.batch(configuration)
    var other = batch
    other.images = batch.images!.map { $0 + $0 }
    let expected = try await Self.references.outcome("qwen3-vl", isFSDP: false)
    let before = try folder.weights()
    for (name, values) in expected.weights where name.contains("visual.") {
      let old: [Float] = try before.tensor(#require([name, configuration.storedName(name)].first(where: before.contains))).array()
      #expect(old != values, "\(name) stays as it was")
    }
    // More pictures than tokens for them.
    await #expect(throws: (any Error).self) { try await run(model, Layout(), [other]) }
    let blind = try await run(model, Layout(), [without(batch)]) { $0.optimizer.epsilon = 1e-2 }
    #expect(distance(blind.weights, expected.weights).error > 1e-3)
  }

  private func without(_ batch: TrainBatch) -> TrainBatch {
    var blind = batch
    blind.images = nil
    return blind
  }
}
