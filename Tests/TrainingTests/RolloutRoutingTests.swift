import TestSupport
import Testing
import Training

/// Rollout routing replay: the trainer's tokens go to the experts that the batch names, under any layout.
@Suite struct RolloutRoutingTests {
  private static let (layers, experts, expertsPerToken) = (4, 8, 2)

  /// Batches with two random experts for each layer of each token, seldom those that the router would choose.
  private static func batches(expertCount: Int = experts) -> [TrainBatch] {
    (0..<2).map { seed in
      var batch = randomBatch(samples: 16, seed: UInt64(seed))
      var random = SeededGenerator(state: UInt64(seed))
      let rows = batch.totalLengths.reduce(0) { $0 + Int($1) - 1 }
      batch.routedExperts = (0..<rows * layers).flatMap { _ in
        (0..<expertCount).shuffled(using: &random).prefix(expertsPerToken).map(Int32.init)
      }
      return batch
    }
  }

  private static func outcome(_ layout: Layout, _ replay: TrainingOptions.RoutingReplay?) async throws -> LayoutOutcome {
    try await run(try TinyModel(MegatronMoELayoutTests.qwen3), layout, batches()) { $0.routingReplay = replay }
  }

  private static let reference = Task { try await outcome(Layout(), .rollout) }

  @Test(arguments: [
    Layout(data: 2, expert: 2), Layout(tensor: 2, sequence: true, context: 2, expert: 2, expertTensor: 1),
    Layout(context: 2, pipeline: 2, options: MegatronLayoutTests.options(.uniform(layers: 1))),
    Layout(tensor: 2, sequence: true, format: .padded), Layout(tokensPerPack: 12),
  ]) func layoutsFollowTheEngine(_ layout: Layout) async throws {
    expectEqual(try await Self.outcome(layout, .rollout), try await Self.reference.value, layout.testDescription)
  }

  @Test func theEngineDecides() async throws {
    let replayed = try await Self.reference.value.steps
    let own = try await Self.outcome(Layout(), .training).steps
    #expect(zip(replayed, own).contains { abs($0["grad_norm"]! - $1["grad_norm"]!) > 1e-3 })
  }

  @Test func whatDoesNotFitIsRefused() async throws {
    func refusal(_ change: @escaping @Sendable (inout TrainBatch) -> Void) async throws -> String {
      let model = try TinyModel(MegatronMoELayoutTests.qwen3)
      let batches = Self.batches().map { batch in
        var batch = batch
        change(&batch)
        return batch
      }
      let error = await #expect(throws: (any Error).self) {
        try await run(model, Layout(), batches) { $0.routingReplay = .rollout }
      }
      return error.map { "\($0)" } ?? ""
    }
    #expect(try await refusal { $0.routedExperts = nil }.contains("rollout_routed_experts"))
    #expect(try await refusal { $0.routedExperts!.removeLast(2) }.contains("4 layers × 2 experts"))
    #expect(try await refusal { $0.routedExperts![5] = 8 }.contains("expert 8"))
  }
}
