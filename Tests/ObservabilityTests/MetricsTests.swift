import Foundation
import JSON
import Observability
import TestSupport
import Testing

@Test func metricsKeepTheirOrder() {
  var metrics: Metrics = ["b": 1, "a": 2]
  metrics["c"] = 0.5
  metrics["b"] = 3
  #expect(metrics.names == ["b", "a", "c"])
  metrics["a"] = nil
  metrics["missing"] = nil
  metrics.merge(["loss": 1, "c": 4], prefix: "")
  metrics.merge(["loss": 2], prefix: "train/")
  #expect(metrics.pairs.map(\.name) == ["b", "c", "loss", "train/loss"])
  #expect(metrics.pairs.map(\.value) == [3, 4, 1, 2])
  #expect(JSONValue.object(metrics.json).text() == #"{"b":3,"c":4,"loss":1,"train/loss":2}"#)
}

private func steps(_ url: URL) throws -> [Int] {
  try String(contentsOf: url, encoding: .utf8).split(separator: "\n").map { line in
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    return try #require(object?["step"] as? Int)
  }
}

@Test func linesAreThereAsSoonAsTheyAreRecorded() throws {
  try withTemporaryFolder { folder in
    let url = folder.appendingPathComponent("run/metrics.jsonl")
    let sink = try JSONLinesSink(url, firstStep: 0)
    try sink.record(["rollout/raw_reward": 0.25, "n": 3], step: 0)
    #expect(try String(contentsOf: url, encoding: .utf8) == #"{"step":0,"rollout/raw_reward":0.25,"n":3}"# + "\n")
    try sink.record(["loss": .nan], step: 1)
    #expect(try JSONValue(parsing: String(contentsOf: url, encoding: .utf8).split(separator: "\n")[1] + "")["step"] == 1)
  }
}

@Test(arguments: ["", "{\"step\":4,\"loss\":0.", "{\"step\":3,\"loss\":1}", "not json\n", "[1]\n{}\n"])
func resumingDropsLaterStepsAndTornLines(tail: String) throws {
  try withTemporaryFolder { folder in
    let url = folder.appendingPathComponent("metrics.jsonl")
    var sink = try JSONLinesSink(url, firstStep: 0)
    for step in 0..<4 { try sink.record(["loss": Double(step)], step: step) }
    let handle = try FileHandle(forWritingTo: url)
    try handle.seekToEnd()
    try handle.write(contentsOf: Data(tail.utf8))
    sink = try JSONLinesSink(url, firstStep: 3)
    #expect(try steps(url) == [0, 1, 2])
    try sink.record(["loss": 9], step: 3)
    #expect(try steps(url) == [0, 1, 2, 3])
    sink = try JSONLinesSink(url, firstStep: 4)
    try sink.record(["loss": 9], step: 4)
    #expect(try steps(url) == [0, 1, 2, 3, 4])
  }
}

@Test func timersAddUpAndStartAnew() async throws {
  let timers = Timers()
  timers.measure("train") { usleep(20_000) }
  await timers.measure("train") { try? await Task.sleep(for: .milliseconds(20)) }
  #expect(throws: CancellationError.self) { try timers.measure("failed") { throw CancellationError() } }
  timers.add(.seconds(1.5), to: "sleep")
  let metrics = timers.take()
  #expect(metrics.names == ["perf/train_time", "perf/failed_time", "perf/sleep_time"])
  #expect(metrics["perf/sleep_time"] == 1.5)
  #expect(metrics["perf/train_time"]! >= 0.04 && metrics["perf/train_time"]! < 5)
  #expect(timers.take().isEmpty)
}
