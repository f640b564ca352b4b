import Foundation
import TestSupport
import Testing

/// Each kind of parallelism with ranks that are processes: the numbers of one rank.
@Suite(.serialized) struct ParallelProcessTests {
  private static let rollouts = 2

  @Test func trainingIsThatOfOneRank() async throws {
    let runs = try TrainingRuns(rollouts: Self.rollouts)
    func train(_ model: String, ranks: Int, _ flags: String) async throws -> [[String: Double]] {
      try await runs.train(
        fixture("models/\(model)"), "--actor-num-gpus-per-node \(ranks) --save \(UUID().uuidString) \(flags)")
    }
    let dense = "llama3-gqa", mixture = "qwen3-moe-stacked"
    let whole = [
      dense: try await train(dense, ranks: 1, ""), mixture: try await train(mixture, ranks: 1, ""),
    ]
    for (model, ranks, flags) in [
      (dense, 2, "--tensor-model-parallel-size 2 --sequence-parallel"), (dense, 2, "--pipeline-model-parallel-size 2"),
      (dense, 2, "--context-parallel-size 2"), (dense, 2, ""), (dense, 2, "--train-backend fsdp"),
      (mixture, 2, "--expert-model-parallel-size 2"),
      (mixture, 4, "--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 2"),
    ] {
      let found = try await train(model, ranks: ranks, flags)
      let expected = whole[model]!
      try #require(found.count == expected.count && found.count == Self.rollouts)
      for (found, expected) in zip(found, expected) {
        for (name, value) in expected {
          let other = found[name] ?? .nan
          #expect(abs(other - value) <= 1e-4 * max(abs(value), 5e-2), "\(model) \(flags): \(name) is \(other), not \(value)")
        }
      }
    }
  }
}
