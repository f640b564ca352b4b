import Foundation
import JSON
import TestSupport
import Testing

/// A folder in which `slime train` runs on given samples, without an engine.
final class TrainingRuns {
  private static let (prompts, samples, vocabulary) = (4, 2, 60)

  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
  private let rollouts: Int

  init(rollouts: Int) throws {
    self.rollouts = rollouts
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var random = SeededGenerator(state: 11)
    for rollout in 0..<rollouts {
      let lines = (0..<Self.prompts * Self.samples).map { Self.sample($0, &random).text() }
      try Data(lines.joined(separator: "\n").utf8).write(to: folder.appendingPathComponent("rollout-\(rollout).jsonl"))
    }
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  private static func sample(_ index: Int, _ random: inout SeededGenerator) -> JSONValue {
    let (prompt, response) = (Int.random(in: 1...9, using: &random), Int.random(in: 1...9, using: &random))
    return [
      "tokens": .array((0..<prompt + response).map { _ in .int(Int.random(in: 0..<vocabulary, using: &random)) }),
      "response_length": .int(response), "group_index": .int(index / samples),
      "reward": .double(Double.random(in: 0...1, using: &random)),
    ]
  }

  /// - Parameter flags: with `--save NAME`, where the metrics go.
  /// - Returns: the training metrics of each step, by `step` and their names.
  func train(_ model: URL, _ flags: String) async throws -> [[String: Double]] {
    let flags = flags.split(separator: " ").map(String.init)
    let line = """
      train --hf-checkpoint \(model.path) --debug-train-only
      --load-debug-rollout-data rollout-{rollout_id}.jsonl --num-rollout \(rollouts) --rollout-batch-size \(Self.prompts)
      --n-samples-per-prompt \(Self.samples) --use-dynamic-batch-size --max-tokens-per-gpu 24 --lr 1e-3 --entropy-coef 0.1
      """
    let run = try SlimeProcess(line.split(whereSeparator: \.isWhitespace).map(String.init) + flags, in: folder)
    let code = try await run.end()
    try #require(code == 0, "\(flags): \(run.errors)")
    let save = flags[flags.firstIndex(of: "--save")! + 1]
    let text = try String(contentsOf: folder.appendingPathComponent("\(save)/metrics.jsonl"), encoding: .utf8)
    return try text.split(separator: "\n").compactMap { line in
      guard let metrics = try JSONValue(parsing: String(line)).object, metrics["train/grad_norm"] != nil else { return nil }
      return Dictionary(uniqueKeysWithValues: metrics.pairs.compactMap { name, value in
        name == "step" || name.hasPrefix("train/") ? value.double.map { (name, $0) } : nil
      })
    }
  }
}
