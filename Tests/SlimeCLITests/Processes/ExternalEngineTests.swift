import Foundation
import HTTP
import JSON
import NIOCore
import TestSupport
import Testing

/// `slime train` on engines that `slime serve` runs.
@Suite(.serialized) struct ExternalEngineTests {
  /// A model, prompts, and servers of the model, gone with the value.
  private final class Place {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    private(set) var servers: [SlimeProcess] = []
    private(set) var addresses: [String] = []

    init() throws {
      try writeTinyModel(to: folder.appendingPathComponent("model"), seed: 1)
      let rows = (0..<8).map { #"{"prompt":"\#($0)+\#($0 * 3)=","label":"\#($0 * 4)"}"# }
      try Data(rows.joined(separator: "\n").utf8).write(to: folder.appendingPathComponent("data.jsonl"))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func serve(_ count: Int, model: String = "model") async throws {
      let new = try (0..<count).map { _ in
        try SlimeProcess(["serve", "--model-path", model, "--port", "0", "--max-total-tokens", "2048"], in: folder)
      }
      for server in new {
        let isReady = try await holds(within: .seconds(20)) { !server.isRunning || server.output.contains("http://") }
        try #require(isReady && server.isRunning, "\(server.errors)")
        let line = server.output.split(separator: "\n").first { $0.contains("http://") }
        addresses.append(String(try #require(line?.split(separator: " ").last).dropFirst("http://".count)))
      }
      servers += new
    }

    func train(_ flags: String, rollouts: Int = 3) throws -> SlimeProcess {
      let line = """
        train --train-backend fsdp --hf-checkpoint model --prompt-data data.jsonl --input-key prompt --label-key label
        --rm-type math --rollout-batch-size 4 --n-samples-per-prompt 2 --rollout-max-response-len 8 --num-rollout \(rollouts)
        --lr 1e-2 --entropy-coef 0.1 --save save \(flags)
        """
      return try SlimeProcess(line.split(whereSeparator: \.isWhitespace).map(String.init), in: folder)
    }

    func metrics() throws -> [[String: Double]] {
      let text = try String(contentsOf: folder.appendingPathComponent("save/metrics.jsonl"), encoding: .utf8)
      return try text.split(separator: "\n").map { line in
        let pairs = try JSONValue(parsing: String(line)).object?.pairs ?? []
        return Dictionary(uniqueKeysWithValues: pairs.compactMap { name, value in value.double.map { (name, $0) } })
      }
    }

    /// Every step learned, and was sampled by the weights that it began with.
    func expectOnPolicy(_ run: SlimeProcess, rollouts: Int = 3) async throws {
      let code = try await run.end()
      try #require(code == 0, "\(run.errors)")
      let metrics = try metrics()
      #expect(metrics.count == rollouts)
      for step in metrics {
        #expect(step["train/train_rollout_logprob_abs_diff"] ?? .nan < 1e-4, "\(step)")
        #expect(step["train/grad_norm"] ?? .nan > 0)
      }
    }
  }

  @Test(arguments: [
    "", "--update-weight-transport http", "--update-weight-transport disk --update-weight-disk-dir weights",
    "--update-weight-transport disk --update-weight-disk-dir weights --update-weight-mode delta --update-weight-local-checkpoint-dir copy",
  ])
  func twoServersSampleWithTheNewestWeights(flags: String) async throws {
    let place = try Place()
    try await place.serve(2)
    let run = try place.train(
      "--rollout-external --rollout-external-engine-addrs http://\(place.addresses[0]) \(place.addresses[1]) "
        + flags.replacingOccurrences(of: "-dir ", with: "-dir \(place.folder.path)/"))
    #expect(try await holds(within: .seconds(60)) { !run.isRunning || run.workers["trainer 0"] != nil })
    #expect(run.workers.keys.allSatisfy { !$0.hasPrefix("engine") })
    try await place.expectOnPolicy(run)
    for address in place.addresses {
      let answer = try await HTTPClient().collect(HTTPClientRequest("GET", "http://\(address)/server_info"), upTo: 1 << 20)
      let info = try JSONValue(parsing: String(buffer: answer.body))
      #expect(info["internal_states"]?.array?.first?["generated_tokens"]?.int ?? 0 > 0)
      #expect(info["weight_version"] == "3")
    }
  }

  @Test func launchedEnginesReadFromAFolder() async throws {
    let place = try Place()
    try await place.expectOnPolicy(
      place.train("--update-weight-transport disk --update-weight-disk-dir weights --update-weight-disk-keep-files"))
    let versions = try FileManager.default.contentsOfDirectory(atPath: place.folder.path + "/weights").sorted()
    #expect(versions == (0...3).map { "weight_v00000\($0)" })
  }

  @Test func launchedEnginesTakeDeltas() async throws {
    let place = try Place()
    try await place.expectOnPolicy(
      place.train(
        """
        --rollout-num-gpus 2 --update-weight-transport disk --update-weight-disk-dir weights --update-weight-mode delta
        --update-weight-local-checkpoint-dir copy --update-weight-disk-keep-files --update-weight-delta-encoding overwrite
        --update-weight-delta-checksum adler32
        """))
    let last = try Data(contentsOf: place.folder.appendingPathComponent("weights/weight_v000003/delta.json"))
    #expect(try JSONValue(parsing: last)["base_version"] == 2)
  }

  @Test func enginesThatAreNotThereOrOfAnotherModelAreNamed() async throws {
    let place = try Place()
    try await place.serve(1)
    let other = place.folder.appendingPathComponent("other")
    try FileManager.default.copyItem(at: place.folder.appendingPathComponent("model"), to: other)
    let config = other.appendingPathComponent("config.json")
    let text = try String(contentsOf: config, encoding: .utf8)
    try Data(text.replacingOccurrences(of: "\"Qwen3ForCausalLM\"", with: "\"AnotherForCausalLM\"").utf8).write(to: config)
    for (addresses, words) in [
      ("\(place.addresses[0]) 127.0.0.1:1", "127.0.0.1:1 leads to no engine"),
      ("127.0.0.1:notaport", "127.0.0.1:notaport"),
    ] {
      let run = try place.train("--rollout-external --rollout-external-engine-addrs \(addresses)")
      #expect(try await run.end() == 2)
      let sentences = run.errors.split(separator: "\n")
      #expect(sentences.count == 1 && run.errors.contains(words), "\(run.errors)")
    }
    try await place.serve(1, model: "other")
    let run = try place.train("--rollout-external --rollout-external-engine-addrs \(place.addresses[1])")
    #expect(try await run.end() == 2)
    #expect(run.errors.contains(place.addresses[1]) && run.errors.contains("AnotherForCausalLM"), "\(run.errors)")
  }

  /// The run goes on with the other server, whose weights stay the newest.
  @Test(arguments: ["", "--update-weight-transport http"]) func aServerThatDiesIsNamedAndTheOtherGoesOn(flags: String) async throws {
    let place = try Place()
    try await place.serve(2)
    let rollouts = 12
    let run = try place.train(
      "--rollout-external --rollout-external-engine-addrs \(place.addresses.joined(separator: " ")) \(flags)",
      rollouts: rollouts)
    let begun = try await holds(within: .seconds(60)) { !run.isRunning || (try? place.metrics().count) ?? 0 >= 2 }
    try #require(begun && run.isRunning, "\(run.errors)")
    kill(place.servers[1].pid, SIGKILL)
    try await place.expectOnPolicy(run, rollouts: rollouts)
    #expect(run.errors.contains("the engine at http://\(place.addresses[1]) failed at"), "\(run.errors)")
    #expect(place.servers[0].isRunning)
  }

  @Test func theLastServerThatDiesEndsTheRun() async throws {
    let place = try Place()
    try await place.serve(1)
    let run = try place.train("--rollout-external --rollout-external-engine-addrs \(place.addresses[0])", rollouts: 1000)
    let begun = try await holds(within: .seconds(60)) { !run.isRunning || (try? place.metrics().count) ?? 0 >= 2 }
    try #require(begun && run.isRunning, "\(run.errors)")
    kill(place.servers[0].pid, SIGKILL)
    #expect(try await run.end(within: .seconds(20)) == 1)
    #expect(run.errors.contains("The engine at http://\(place.addresses[0])"), "\(run.errors)")
  }

  /// Of engines that the run starts.
  @Test func anEngineThatDiesIsNamedAndTheOtherGoesOn() async throws {
    let place = try Place()
    let rollouts = 12
    let run = try place.train("--rollout-num-gpus 2", rollouts: rollouts)
    let begun = try await holds(within: .seconds(60)) { !run.isRunning || (try? place.metrics().count) ?? 0 >= 2 }
    try #require(begun && run.isRunning, "\(run.errors)")
    kill(try #require(run.workers["engine 1"]), SIGKILL)
    try await place.expectOnPolicy(run, rollouts: rollouts)
    #expect(run.errors.contains("engine rank 1 failed at"), "\(run.errors)")
    #expect(run.errors.contains("was killed by signal 9 (SIGKILL)"), "\(run.errors)")
  }
}
