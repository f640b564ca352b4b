import Checkpoints
import Models
import TestSupport
import Testing
import Torch
import Training

/// Every family under every kind of parallelism that it can be divided by, against one rank: losses, norms, weights after
/// two steps, and log-probabilities.
@Suite struct FamilyLayoutTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let name: String
    let layout: Layout
    var testDescription: String { "\(name), \(layout.testDescription)" }
  }

  private static func configuration(_ name: String) -> ModelConfiguration {
    try! ModelRegistry.configuration(of: HuggingFaceFolder(fixture("models/\(name)")))
  }

  /// Those of a model that its sizes allow.
  private static func layouts(_ model: ModelConfiguration) -> [Layout] {
    let splitsHeads = model.headCount % 2 == 0
    // Stages of an odd number of layers are uneven.
    let stages = MegatronLayoutTests.options(first: model.layerCount % 2 == 0 ? nil : 1)
    var recomputed = MegatronOptions()
    recomputed.recomputation = .selective
    let isMixture = model.mixture != nil
    let splitsExperts = model.mixture.map { $0.expertCount % 2 == 0 } ?? false
    var layouts = [
      Layout(pipeline: 2, options: stages), Layout(context: 2), Layout(data: 2, isFSDP: true), Layout(context: 2, data: 2, isFSDP: true),
    ]
    if model.linearAttention != nil, !isMixture {
      // States go along what is gathered, whichever way it lies.
      layouts += [Layout(context: 2, options: recomputed), Layout(context: 2, format: .padded)]
    }
    if splitsHeads, (model.mixture?.intermediateSize ?? 0) % 2 == 0 {
      // Mixtures need it.
      if !isMixture { layouts.append(Layout(tensor: 2)) }
      layouts.append(Layout(tensor: 2, sequence: true))
      layouts.append(Layout(tensor: 2, sequence: true, context: 2, pipeline: 2, options: stages))
    }
    if splitsExperts {
      layouts += [Layout(data: 2, expert: 2), Layout(data: 2, expert: 2, isFSDP: true)]
      if splitsHeads { layouts.append(Layout(tensor: 2, sequence: true, expert: 2, expertTensor: 1)) }
    }
    return layouts
  }

  /// What is special about these is divided as in others.
  private static let alike: Set = ["qwen2-moe-sparse-tied", "qwen3-moe-window-bias", "gemma3-eyes-untied"]

  /// The first model of each type under all of them, the others on two ranks.
  static let cases: [Case] = {
    var known: Set<String> = []
    return modelFixtures.filter { !alike.contains($0) }.flatMap { name in
      let model = configuration(name)
      let isFirst = known.insert(model.modelType).inserted
      return layouts(model).filter { isFirst || $0.worldSize <= 2 }.map { Case(name: name, layout: $0) }
    }
  }()

  /// No family goes without a kind that it can be divided by.
  @Test func allKindsAreCovered() {
    for (type, names) in Dictionary(grouping: modelFixtures, by: { Self.configuration($0).modelType }) {
      let layouts = names.flatMap { Self.layouts(Self.configuration($0)) }
      #expect(layouts.contains { $0.tensor > 1 }, "\(type)")
      #expect(layouts.contains { $0.expert > 1 } == (Self.configuration(names[0]).mixture != nil), "\(type)")
    }
  }

  private static let references = LayoutReferences { try await FamilyLayoutTests.outcome($0, $1) }

  private static func outcome(_ name: String, _ layout: Layout) async throws -> LayoutOutcome {
    let vocabulary = configuration(name).vocabularySize
    let sequences = (1...5).map { length in (0..<length * 4).map { Int32(($0 * 7 + length) % vocabulary) } }
    return try await run(
      TinyModel(fixture: name), layout, [randomBatch(samples: 16, seed: 3, vocabulary: vocabulary)], scoring: sequences
    ) { options in
      // Steps in proportion to gradients: rounding in those that are nothing else is not blown up.
      options.optimizer.epsilon = 1e-2
    }
  }

  @Test(arguments: cases) func layoutsAreThoseOfOneRank(_ given: Case) async throws {
    let expected = try await Self.references.outcome(given.name, isFSDP: given.layout.isFSDP)
    let found = try await Self.outcome(given.name, given.layout)
    expectEqual(found, expected, given.testDescription)
    #expect(found.scores.map(\.index) == expected.scores.map(\.index) && !found.scores.isEmpty)
    for (found, expected) in zip(found.scores, expected.scores) {
      let pairs = zip(found.logProbs + found.entropy, expected.logProbs + expected.entropy)
      let worst: Float = pairs.map { abs($0 - $1) }.max() ?? 0
      #expect(found.logProbs.count == expected.logProbs.count && worst < 1e-4, "\(given.testDescription): \(worst)")
    }
  }
}
