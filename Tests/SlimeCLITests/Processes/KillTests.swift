import Foundation
import JSON
import TestSupport
import Testing

/// `slime train` with two trainer ranks and an engine, whose processes are killed.
@Suite(.serialized) struct KillTests {
  private static let rollouts = 12

  /// Each kind of process in turn. The others end, say who died, and the same command goes on from the last save as if
  /// nothing had happened.
  @Test func aKilledProcessEndsTheRunAndTheNextOneGoesOn() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder.appendingPathComponent("model"), seed: 1)
    let rows = (0..<10).map { #"{"prompt":"\#($0)+\#($0 * 3)=","label":"\#($0 * 4)"}"# }
    try Data(rows.joined(separator: "\n").utf8).write(to: folder.appendingPathComponent("data.jsonl"))

    let whole = try SlimeProcess(Self.arguments("whole"), in: folder)
    let code = try await whole.end()
    try #require(code == 0, "\(whole.errors)")

    for (victim, step) in [("trainer 1", 3), ("engine 0", 6), ("driver", 9)] {
      try await Self.kill(victim, afterStep: step, in: folder)
    }
    let last = try SlimeProcess(Self.arguments("killed"), in: folder)
    #expect(try await last.end() == 0, "\(last.errors)")

    let (expected, found) = (try Self.metrics("whole", in: folder), try Self.metrics("killed", in: folder))
    #expect(expected.compactMap { $0["step"] } == (0..<Self.rollouts).map { Double($0) })
    #expect(expected.allSatisfy { ($0["train/grad_norm"] ?? 0) > 0 })
    try #require(found.count == expected.count)
    for (step, (found, expected)) in zip(found, expected).enumerated() {
      #expect(found.keys == expected.keys)
      for (name, value) in found {
        // The engine's last bits depend on which requests it ran together.
        let tolerance = name.contains("rollout") && name.contains("log") ? 1e-5 : 0
        #expect(abs(value - (expected[name] ?? .nan)) <= tolerance, "\(name) of step \(step)")
      }
    }
    for rollout in 0..<Self.rollouts {
      let isSame = try Self.samples(rollout, "killed", in: folder) == Self.samples(rollout, "whole", in: folder)
      #expect(isSame, "rollout \(rollout)")
    }
  }

  private static func arguments(_ name: String) -> [String] {
    """
    train --train-backend fsdp --hf-checkpoint model --actor-num-gpus-per-node 2 --prompt-data data.jsonl --input-key prompt
    --label-key label --rm-type math --rollout-shuffle --rollout-seed 7 --rollout-batch-size 4 --n-samples-per-prompt 2
    --rollout-max-response-len 8 --global-batch-size 8 --num-rollout \(rollouts) --lr 1e-3 --entropy-coef 0.1
    --save \(name) --load \(name) --save-interval 2 --save-debug-rollout-data \(name)-{rollout_id}.jsonl
    """.split(whereSeparator: \.isWhitespace).map(String.init)
  }

  private static func kill(_ victim: String, afterStep step: Int, in folder: URL) async throws {
    let run = try SlimeProcess(arguments("killed"), in: folder)
    let file = folder.appendingPathComponent("killed/metrics.jsonl")
    let isThere = try await holds(within: .seconds(60)) {
      !run.isRunning || ((try? String(contentsOf: file, encoding: .utf8))?.contains(#""step":\#(step),"#) ?? false)
    }
    try #require(isThere && run.isRunning, "no step \(step): \(run.errors)")
    let workers = run.workers
    try #require(Set(workers.keys) == ["trainer 0", "trainer 1", "engine 0"])
    let pid = try #require(victim == "driver" ? run.pid : workers[victim])
    Glibc.kill(pid, SIGKILL)

    let killed = ContinuousClock.now
    let code = try await run.end(within: .seconds(10))
    #expect(code == (victim == "driver" ? 128 + SIGKILL : 1), "\(victim)")
    let left = .seconds(10) - (ContinuousClock.now - killed)
    #expect(try await holds(within: left) { !workers.values.contains(where: SlimeProcess.isAlive) }, "after \(victim)")
    let sentences = run.errors.split(separator: "\n").filter { !$0.hasPrefix("rollouts ") }
    if victim == "driver" {
      // Each of those that are left says it for itself.
      for (name, pid) in workers {
        let title = name.replacingOccurrences(of: " ", with: " rank ")
        #expect(sentences.contains("\(title) (pid \(pid)) ends: the driver (pid \(run.pid)) is gone"), "\(run.errors)")
      }
      #expect(sentences.count == workers.count)
    } else {
      let title = victim.replacingOccurrences(of: " ", with: " rank ")
      #expect(sentences == ["slime: \(title) (pid \(pid)) was killed by signal 9 (SIGKILL)"])
    }
  }

  /// What the run measured at each step, but not how long things took.
  private static func metrics(_ name: String, in folder: URL) throws -> [[String: Double]] {
    try lines(of: "\(name)/metrics.jsonl", in: folder).map { line in
      let pairs = line.object?.pairs.filter { !$0.key.hasPrefix("perf/") } ?? []
      return Dictionary(uniqueKeysWithValues: pairs.map { ($0.key, $0.value.double ?? .nan) })
    }
  }

  private static func samples(_ rollout: Int, _ name: String, in folder: URL) throws -> [[JSONValue?]] {
    try lines(of: "\(name)-\(rollout).jsonl", in: folder).map { line in
      ["index", "prompt", "tokens", "reward"].map { line[$0] }
    }
  }

  private static func lines(of file: String, in folder: URL) throws -> [JSONValue] {
    let data = try Data(contentsOf: folder.appendingPathComponent(file))
    return try data.split(separator: UInt8(ascii: "\n")).map { try JSONValue(parsing: Data($0)) }
  }
}
