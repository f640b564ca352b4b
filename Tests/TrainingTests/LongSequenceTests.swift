import Foundation
import TestSupport
import Testing
import Training

/// Sequences past the original context of models whose rotary frequencies then change, under layouts: ranks that hold a
/// part of a sequence know how long all of it is.
@Suite struct LongSequenceTests {
  static let layouts = [
    Layout(), Layout(context: 2), Layout(context: 2, format: .padded), Layout(tensor: 2, sequence: true, pipeline: 2),
    Layout(context: 2, data: 2, isFSDP: true),
  ]

  private static func model(_ name: String) throws -> (RotaryFixture, TinyModel) {
    let given = try RotaryFixture(name)
    let model = try TinyModel(fixture: given.folder.url.lastPathComponent)
    try given.config.data(.indented(2)).write(to: model.url.appendingPathComponent("config.json"))
    return (given, model)
  }

  @Test(arguments: ["longrope", "dynamic"], layouts) func scoresAreThoseOfTransformers(_ name: String, _ layout: Layout) async throws {
    let (given, model) = try Self.model(name)
    let scores = try await run(model, layout, [], scoring: given.sequences).scores
    #expect(scores.map(\.index) == Array(given.sequences.indices))
    for (score, wanted) in zip(scores, given.logProbs) {
      let worst = zip(score.logProbs, wanted).map { abs($0 - $1) }.max() ?? 1
      #expect(score.logProbs.count == wanted.count && worst < 1e-4, "\(layout.testDescription): \(worst)")
    }
  }

  /// Where the engine's context is past the original one, the trainer has the engine's frequencies for short sequences too.
  @Test(arguments: [Layout(), Layout(context: 2), Layout(data: 2, isFSDP: true)])
  func contextsOfEnginesAreKnown(_ layout: Layout) async throws {
    let (given, model) = try Self.model("longrope")
    let (long, wanted) = (try #require(given.sequences.last), try #require(given.logProbs.last))
    let sequences = [Array(long.prefix(9)), long]
    let scores = try await run(model, layout, [], scoring: sequences) { $0.contextLength = 40 }.scores
    #expect(scores.map(\.index) == [0, 1])
    for score in scores {
      let worst = zip(score.logProbs, wanted).map { abs($0 - $1) }.max() ?? 1
      #expect(score.logProbs.count == sequences[score.index].count - 1 && worst < 1e-4, "\(layout.testDescription): \(worst)")
    }
  }

  @Test(arguments: ["longrope", "dynamic"]) func trainingIsThatOfOneRank(_ name: String) async throws {
    let (given, model) = try Self.model(name)
    let batch = randomBatch(samples: 16, seed: 5, vocabulary: given.configuration.vocabularySize, longest: 40)
    #expect(batch.tokenRanges.contains { $0.count > 12 } && batch.tokenRanges.contains { $0.count < 12 })
    func outcome(_ layout: Layout) async throws -> LayoutOutcome {
      try await run(model, layout, [batch]) { $0.optimizer.epsilon = 1e-2 }
    }
    expectEqual(
      try await outcome(Layout(tensor: 2, sequence: true, context: 2)), try await outcome(Layout()), "\(name), tp2 cp2")
  }
}
