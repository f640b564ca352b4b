import Parallelism
import RLAlgorithms
import Testing
import Torch
import Training

/// Losses that look across tokens, samples or ranks, against one rank.
@Suite struct MegatronAlgorithmTests {
  enum Variant: String, CaseIterable, Sendable {
    case supervised, perToken, gspo, cispo, reinforcePlusPlus, klLoss, truncatedImportance, rolloutLogProbs, temperature

    func adjust(_ options: inout TrainingOptions) {
      switch self {
      case .supervised: options.loss = .supervised
      case .perToken: options.normalization = .perToken
      case .gspo: options.policy.estimator = .gspo
      case .cispo: options.policy.estimator = .cispo
      case .reinforcePlusPlus:
        options.policy.estimator = .reinforcePlusPlus
        (options.normalizesAdvantages, options.klCoefficient, options.discount) = (true, 0.1, 0.9)
      case .klLoss: (options.klLossCoefficient, options.klEstimator, options.entropyCoefficient) = (0.1, .k2, 0.01)
      case .truncatedImportance: options.importanceBounds = .init(low: 0.5, high: 2)
      case .rolloutLogProbs: options.usesRolloutLogProbs = true
      case .temperature: options.temperature = 0.7
      }
    }
  }

  private static let batches = (10..<13).map { randomBatch(samples: 16, seed: UInt64($0)) }
  private static let layouts = [
    Layout(context: 2, pipeline: 2, data: 2), Layout(tensor: 2, sequence: true, context: 2, data: 2, tokensPerPack: 60),
  ]

  @Test(arguments: Variant.allCases) func everyLossIsThatOfOneRank(_ variant: Variant) async throws {
    let model = try TinyModel()
    let expected = try await run(model, Layout(), Self.batches) { variant.adjust(&$0) }
    for layout in Self.layouts {
      let found = try await run(model, layout, Self.batches) { variant.adjust(&$0) }
      expectEqual(found, expected, "\(variant) on \(layout.testDescription)")
    }
  }

  /// With an epsilon far above every gradient, an Adam step is a multiple of the gradient: so weights show it.
  @Test(arguments: MegatronLayoutTests.layouts) func everyGradientIsThatOfOneRank(_ layout: Layout) async throws {
    let model = try TinyModel(["tie_word_embeddings": true, "attention_bias": true])
    let batches = [Self.batches[0].selecting(Array(0..<8))]
    let before = try await run(model, Layout(), [])
    func gradients(_ layout: Layout) async throws -> [String: [Float]] {
      let after = try await run(model, layout, batches) { options in
        options.clipGradient = 0
        options.optimizer = AdamW.Options(epsilon: 1e6)
        options.schedule = try! LearningRateSchedule(peak: 1e9, decaySteps: 10)
      }
      return after.weights.merging(before.weights) { after, before in zip(after, before).map { $0 - $1 } }
    }
    let (name, error) = distance(try await gradients(layout), try await gradients(Layout()))
    #expect(error <= 1e-4, "\(layout.testDescription): gradient of \(name) differs by \(error)")
  }
}
