import Foundation
import JSON
import TestSupport
import Testing

/// `slime train` with engines of several ranks.
@Suite struct EngineRanksTests {
  /// Weights go from two pipeline stages to two engines of two ranks each, which then sample with them.
  @Test func enginesOfTwoRanksFollowTheTrainer() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder.appendingPathComponent("model"), seed: 2)
    try Data((0..<4).map { #"{"prompt":"\#($0)+1=","label":"1"}"# }.joined(separator: "\n").utf8)
      .write(to: folder.appendingPathComponent("data.jsonl"))
    let line = """
      train --hf-checkpoint model --prompt-data data.jsonl --input-key prompt --label-key label --rm-type math
      --rollout-batch-size 4 --n-samples-per-prompt 4 --rollout-max-response-len 12 --num-rollout 3 --global-batch-size 16
      --lr 1e-2 --entropy-coef 0.1 --actor-num-gpus-per-node 2 --pipeline-model-parallel-size 2 --rollout-seed 3
      --sglang-tp-size 2 --sglang-dp-size 2 --save run
      """
    let run = try SlimeProcess(line.split(whereSeparator: \.isWhitespace).map(String.init), in: folder)
    try #require(try await run.end() == 0, "\(run.errors)")
    let text = try String(contentsOf: folder.appendingPathComponent("run/metrics.jsonl"), encoding: .utf8)
    let differences = try text.split(separator: "\n").compactMap {
      try JSONValue(parsing: String($0))["train/train_rollout_logprob_abs_diff"]?.double
    }
    #expect(differences.count == 3 && differences.allSatisfy { $0 < 1e-4 }, "\(differences)")
  }
}
