import Foundation
import JSON
import TestSupport
import Testing

/// Each kind of parallelism with ranks that are processes: the numbers of one rank.
@Suite(.serialized) struct ParallelProcessTests {
  private static let (rollouts, prompts, samples, vocabulary) = (2, 4, 2, 60)

  @Test func trainingIsThatOfOneRank() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var random = SeededGenerator(state: 11)
    for rollout in 0..<Self.rollouts {
      let lines = (0..<Self.prompts * Self.samples).map { Self.sample($0, &random).text() }
      try Data(lines.joined(separator: "\n").utf8).write(to: folder.appendingPathComponent("rollout-\(rollout).jsonl"))
    }
    let dense = "llama3-gqa", mixture = "qwen3-moe-stacked"
    let whole = [
      dense: try await Self.train(dense, ranks: 1, "", folder), mixture: try await Self.train(mixture, ranks: 1, "", folder),
    ]
    for (model, ranks, flags) in [
      (dense, 2, "--tensor-model-parallel-size 2 --sequence-parallel"), (dense, 2, "--pipeline-model-parallel-size 2"),
      (dense, 2, "--context-parallel-size 2"), (dense, 2, ""), (dense, 2, "--train-backend fsdp"),
      (mixture, 2, "--expert-model-parallel-size 2"),
      (mixture, 4, "--tensor-model-parallel-size 2 --sequence-parallel --pipeline-model-parallel-size 2"),
    ] {
      let found = try await Self.train(model, ranks: ranks, flags, folder)
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

  private static func sample(_ index: Int, _ random: inout SeededGenerator) -> JSONValue {
    let (prompt, response) = (Int.random(in: 1...9, using: &random), Int.random(in: 1...9, using: &random))
    return [
      "tokens": .array((0..<prompt + response).map { _ in .int(Int.random(in: 0..<vocabulary, using: &random)) }),
      "response_length": .int(response), "group_index": .int(index / samples),
      "reward": .double(Double.random(in: 0...1, using: &random)),
    ]
  }

  /// - Returns: the training metrics of each step.
  private static func train(_ model: String, ranks: Int, _ flags: String, _ folder: URL) async throws -> [[String: Double]] {
    let save = UUID().uuidString
    let line = """
      train --hf-checkpoint \(fixture("models/\(model)").path) --debug-train-only
      --load-debug-rollout-data rollout-{rollout_id}.jsonl --num-rollout \(rollouts) --rollout-batch-size \(prompts)
      --n-samples-per-prompt \(samples) --use-dynamic-batch-size --max-tokens-per-gpu 24 --lr 1e-3 --entropy-coef 0.1
      --actor-num-gpus-per-node \(ranks) --save \(save) \(flags)
      """
    let run = try SlimeProcess(line.split(whereSeparator: \.isWhitespace).map(String.init), in: folder)
    let code = try await run.end()
    try #require(code == 0, "\(flags): \(run.errors)")
    let text = try String(contentsOf: folder.appendingPathComponent("\(save)/metrics.jsonl"), encoding: .utf8)
    return try text.split(separator: "\n").compactMap { line in
      guard let metrics = try JSONValue(parsing: String(line)).object, metrics["train/grad_norm"] != nil else { return nil }
      return Dictionary(uniqueKeysWithValues: metrics.pairs.compactMap { name, value in
        name.hasPrefix("train/") ? value.double.map { (name, $0) } : nil
      })
    }
  }
}
