import Foundation
import JSON
import TestSupport
import Testing

/// That benchmarks of several processes measure what they say, on tiny models.
@Suite(.serialized) struct BenchTests {
  private static func rows(_ words: String, in folder: URL) async throws -> [JSONValue] {
    let run = try SlimeProcess(["bench"] + words.split(separator: " ").map(String.init) + ["--json"], in: folder)
    let code = try await run.end(within: .seconds(60))
    try #require(code == 0, "\(run.errors)")
    return try #require(try JSONValue(parsing: run.output).array)
  }

  @Test func updatesByEveryWay() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder.appendingPathComponent("model"), seed: 1)
    let rows = try await Self.rows("update --hf-checkpoint model --fp8", in: folder)
    #expect(rows.map { $0["kind"]?.string } == ["tensor", "bucket", "distributed", "http", "disk"])
    for row in rows {
      #expect(row["bytes"] == rows[0]["bytes"] && row["bytes"]?.int ?? 0 > 10_000)
      #expect(row["seconds"]?.double ?? 0 > 0 && row["first_seconds"]?.double ?? 0 > 0, "\(row)")
    }
  }

  /// The other side is the first python3 on the path, which is told of the same work.
  @Test func comparisonsAreOfTheSameWork() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try writeTinyModel(to: folder.appendingPathComponent("model"), seed: 1)
    let words = "rollout --hf-checkpoint model --requests 2 --random-input-len 4 --random-output-len 3 --compare transformers --json"
      .split(separator: " ").map(String.init)
    let run = try SlimeProcess(["bench"] + words, in: folder, path: folder.path)
    #expect(try await run.end(within: .seconds(60)) == 2)
    #expect(run.errors.contains("--compare transformers needs python3"), "\(run.errors)")

    let python = folder.appendingPathComponent("python3")
    try """
      #!/bin/sh
      read -r work < "$3"
      echo "$work" > asked
      echo '{"seconds": 0.5, "output_tokens": 6, "start_seconds": 0.1}'
      """.write(to: python, atomically: true, encoding: .utf8)
    try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: python.path)
    let second = try SlimeProcess(["bench"] + words, in: folder, path: folder.path)
    #expect(try await second.end(within: .seconds(60)) == 0, "\(second.errors)")
    let rows = try #require(try JSONValue(parsing: second.output).array)
    #expect(rows.map { $0["name"] } == ["slime", "transformers"])
    #expect(rows.map { $0["output_tokens"] } == [6, 6])
    let asked = try JSONValue(parsing: String(contentsOf: folder.appendingPathComponent("asked"), encoding: .utf8))
    #expect(asked.array?.count == 2)
  }

  /// Phases are all that a step spends its time with.
  @Test func phasesOfAStep() async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: folder) }
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let rows = try await Self.rows(
      "step --rollout-batch-size 2 --n-samples-per-prompt 2 --random-output-len 8 --steps 3 --dtype float32", in: folder)
    let seconds = Dictionary(uniqueKeysWithValues: rows.map { ($0["phase"]?.string ?? "", $0["seconds"]?.double ?? .nan) })
    for phase in ["rollout", "training", "weight update", "idle"] { #expect(seconds[phase] ?? -1 >= 0, "\(seconds)") }
    let whole = try #require(seconds["step"])
    let sum = seconds.filter { $0.key != "step" }.values.reduce(0, +)
    #expect(whole > 0 && abs(sum - whole) < 0.02 * whole + 0.002, "\(seconds)")
  }
}
