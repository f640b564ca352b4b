import Checkpoints
import Foundation
import Inference
import JSON
import Serving
import TestSupport
import Testing
import Torch
import WeightSync

/// Weights of a real engine, replaced over HTTP.
@Suite(.serialized) struct WeightRoutesTests {
  typealias Weights = [(name: String, tensor: Tensor)]

  /// The fixture's weights, with noise of a seed.
  static func weights(_ seed: UInt64?) throws -> Weights {
    let files = try HuggingFaceFolder(fixture("models/qwen3-tied")).weights()
    return try files.names.enumerated().map { index, name in
      let tensor = try files.tensor(name)
      guard let seed else { return (name, tensor) }
      return (name, tensor + Tensor.randn(tensor.shape, generator: Generator(seed: seed &* 1000 + UInt64(index))) * 0.05)
    }
  }

  static func base64(_ weights: Weights) throws -> String { try PickledTensors.pickle(weights).base64EncodedString() }

  /// Runs `body` with a client of a server over a real engine.
  static func withEngine(
    _ options: EngineOptions = EngineOptions(maxTotalTokens: 4096), folder: HuggingFaceFolder? = nil, ranks: Int = 1,
    groupTimeout: Duration = .seconds(20), _ body: @escaping @Sendable (Client, Engine) async throws -> Void
  ) async throws {
    var options = options
    options.tensorParallelSize = ranks
    let folder = try folder ?? HuggingFaceFolder(fixture("models/qwen3-tied"))
    let engine = try Engine(folder: folder, tokenizer: nil, options: options)
    var configuration = ServerConfiguration(port: 0)
    configuration.weightGroupTimeout = groupTimeout
    configuration.arguments = ["tp_size": .int(ranks), "device": options.device.kind == .cuda ? "cuda" : "cpu"]
    configuration.device = options.device
    try await Server(engine: engine, tokenizer: nil, configuration: configuration).whileRunning { port in
      try await body(Client(port: port), engine)
    }
  }

  /// Whether the engine's weights are these, bit by bit.
  static func holds(_ engine: Engine, _ weights: Weights) async throws -> Bool {
    for (name, tensor) in weights {
      guard let found = try await engine.weight(named: name) else { return false }
      if found.bytes != tensor.withBytes({ Data($0) }) || found.shape != tensor.shape { return false }
    }
    return true
  }

  static func version(_ client: Client) async throws -> String? {
    try await client.get("/get_weight_version").json["weight_version"]?.string
  }

  static func failure(_ answer: Answer) -> String? {
    answer.status == 400 && answer.json["success"] == false ? answer.json["message"]?.string : nil
  }

  @Test func aTensorUpdateIsWholeAtOnce() async throws {
    try await Self.withEngine { client, engine in
      let body: JSONValue = [
        "serialized_named_tensors": [.string(try Self.base64(Self.weights(1)))], "weight_version": "t1",
        "flush_cache": true,
      ]
      let answer = try await client.post("/update_weights_from_tensor", body)
      #expect(answer.json == ["message": "Success Weight version updated to t1.", "success": true], "\(answer.body)")
      #expect(try await Self.holds(engine, Self.weights(1)))
      #expect(try await Self.version(client) == "t1")
      // A wrong one leaves everything as it was, in one sentence.
      var wrong = try Self.weights(2)
      wrong[wrong.count - 1].tensor = Tensor.ones([3])
      let shape = try await client.post(
        "/update_weights_from_tensor",
        ["serialized_named_tensors": [.string(try Self.base64(wrong))], "weight_version": "t2"])
      #expect(Self.failure(shape)?.contains("[3]") == true, "\(shape.body)")
      let unknown = try await client.post(
        "/update_weights_from_tensor", ["serialized_named_tensors": [.string(try Self.base64([("nope", Tensor.ones([1]))]))]])
      #expect(Self.failure(unknown)?.contains("nope") == true)
      let pickle = try PickledTensors.pickle(Self.weights(3))
      let cut = try await client.post(
        "/update_weights_from_tensor", ["serialized_named_tensors": [.string(pickle.dropLast(9000).base64EncodedString())]])
      #expect(Self.failure(cut)?.contains("cannot be read") == true, "\(cut.body)")
      let damaged = try await client.post(
        "/update_weights_from_tensor",
        ["serialized_named_tensors": [.string(pickle.base64EncodedString())], "checksum": "0123456789abcdef"])
      #expect(Self.failure(damaged)?.contains("checksum") == true)
      #expect(try await Self.holds(engine, Self.weights(1)))
      #expect(try await Self.version(client) == "t1")
      let sum = pickle.withUnsafeBytes { XXHash64.hex($0) }
      let sound = try await client.post(
        "/update_weights_from_tensor",
        ["serialized_named_tensors": [.string(pickle.base64EncodedString())], "checksum": .string(sum)])
      #expect(sound.status == 200)
      #expect(try await Self.holds(engine, Self.weights(3)))
    }
  }

  @Test func aSessionIsWholeOrNothing() async throws {
    try await Self.withEngine { client, engine in
      let weights = try Self.weights(4)
      func send(_ part: Weights, _ more: (String, JSONValue)...) async throws -> Answer {
        var body: JSONObject = ["serialized_named_tensors": [.string(try Self.base64(part))]]
        for (key, value) in more { body[key] = value }
        return try await client.post("/update_weights_from_tensor", .object(body))
      }
      let noSession = try await client.post("/end_weight_update", [:])
      #expect(Self.failure(noSession) == "no weight-update session is open; call begin_weight_update() first")
      #expect(try await client.post("/begin_weight_update", [:]).json == ["message": "Success", "success": true])
      #expect(try await send(Array(weights[..<6])).status == 200)
      // The old weights serve on.
      #expect(try await Self.holds(engine, Self.weights(nil)))
      let served = try await client.generate(["input_ids": [5, 6], "sampling_params": ["max_new_tokens": 2]])
      #expect(served.json["meta_info"]?["weight_version"] == "default")
      #expect(try await send(Array(weights[6...]), ("weight_version", "s1")).status == 200)
      #expect(try await Self.version(client) == "default")
      #expect(try await client.post("/end_weight_update", [:]).status == 200)
      #expect(try await Self.holds(engine, weights))
      #expect(try await Self.version(client) == "s1")
      // A session of which a part failed changes nothing.
      _ = try await client.post("/begin_weight_update", [:])
      #expect(try await send(Self.weights(5)).status == 200)
      #expect(try await send([("nope", Tensor.ones([1]))]).status == 400)
      #expect(Self.failure(try await client.post("/end_weight_update", [:]))?.contains("nope") == true)
      #expect(try await Self.holds(engine, weights))
      #expect(try await Self.version(client) == "s1")
    }
  }

  @Test func aSilentSenderIsForgotten() async throws {
    var options = EngineOptions(maxTotalTokens: 4096)
    options.weightUpdatePatience = .milliseconds(60)
    try await Self.withEngine(options) { client, engine in
      _ = try await client.post("/begin_weight_update", [:])
      let body: JSONValue = ["serialized_named_tensors": [.string(try Self.base64(Self.weights(6)))], "weight_version": "x"]
      #expect(try await client.post("/update_weights_from_tensor", body).status == 200)
      try await eventually("it is forgotten") { await !engine.hasOpenWeightUpdate }
      await #expect(throws: EngineError.self) { try await engine.endWeightUpdate(version: "x") }
      #expect(try await Self.holds(engine, Self.weights(nil)))
      #expect(try await Self.version(client) == "default")
    }
  }

  @Test func requestsInFlightGoOnWithTheNewWeights() async throws {
    try await Self.withEngine { client, engine in
      let long: JSONValue = ["max_new_tokens": 400, "ignore_eos": true, "temperature": 0]
      async let running = client.generate(["input_ids": [5, 6, 7], "sampling_params": long])
      var versions = ["default"]
      for round in 1...5 {
        let before = try await engine.status().generatedTokens
        try await eventually("tokens flow") {
          let status = try await engine.status()
          return status.generatedTokens > before + 5 || (status.runningRequests == 0 && status.generatedTokens >= 400)
        }
        if try await engine.status().runningRequests > 0 { versions.append("v\(round)") }
        let body: JSONValue = [
          "serialized_named_tensors": [.string(try Self.base64(Self.weights(UInt64(round))))],
          "weight_version": .string("v\(round)"),
        ]
        #expect(try await client.post("/update_weights_from_tensor", body).status == 200)
      }
      let answer = try await running.json
      #expect(answer["output_ids"]?.array?.count == 400)
      let spans = answer["meta_info"]?["weight_versions"]?.array ?? []
      let found = spans.compactMap { $0["version"]?.string }
      #expect(found.count > 1 && zip(found, versions).allSatisfy { $0 == $1 }, "\(found) \(versions)")
      var end = 0
      for span in spans {
        #expect(span["start"]?.int == end)
        end = span["end"]?.int ?? -1
      }
      #expect(end == 400)
      // abort_all_requests ends them.
      async let victim = client.generate(["input_ids": [5, 6, 7], "sampling_params": long])
      try await eventually("it runs") { try await engine.status().runningRequests == 1 }
      let body: JSONValue = [
        "serialized_named_tensors": [.string(try Self.base64(Self.weights(9)))], "abort_all_requests": true,
      ]
      #expect(try await client.post("/update_weights_from_tensor", body).status == 200)
      let end9 = try await victim.json["meta_info"]?["finish_reason"]?["type"]
      #expect(end9 == "abort" || end9 == "length")
      #expect(try await engine.status().runningRequests == 0)
    }
  }

  @Test func fromDisk() async throws {
    let place = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    defer { try? FileManager.default.removeItem(at: place) }
    let folder = try HuggingFaceFolder(fixture("models/qwen3-tied"))
    try HuggingFaceFolder.save(
      to: place, config: folder.config, tensors: Self.weights(7).map { TensorSource($0.name, $0.tensor) }, copyingFrom: folder)
    try await Self.withEngine { client, engine in
      let answer = try await client.post(
        "/update_weights_from_disk", ["model_path": .string(place.path), "weight_version": "1", "keep_pause": true])
      #expect(answer.json["message"] == "Succeeded to update model weights. Weight version updated to 1.", "\(answer.body)")
      #expect(answer.json["num_paused_requests"] == 0)
      #expect(try await Self.holds(engine, Self.weights(7)))
      #expect(try await client.post("/continue_generation", [:]).status == 200)
      // SGLang answers success to a checkpoint of another shape, and serves nonsense.
      for other in ["qwen2", "llama2", "qwen3-untied-3-heads", "nothing"] {
        let refused = try await client.post(
          "/update_weights_from_disk", ["model_path": .string(fixture("models/\(other)").path), "weight_version": "2"])
        #expect(Self.failure(refused) != nil, "\(refused.body)")
      }
      #expect(try await Self.holds(engine, Self.weights(7)))
      #expect(try await Self.version(client) == "1")
      let named = try await client.post("/update_weight_version", ["new_version": "9"])
      #expect(named.json["new_version"] == "9" && named.json["message"] == "Weight version updated to 9")
      #expect(try await Self.version(client) == "9")
      #expect(try await client.post("/post_process_weights", ["post_process_quantization": true]).status == 200)
    }
  }

  @Test func weightsCanBeLookedAt() async throws {
    try await Self.withEngine { client, engine in
      let weights = try Self.weights(nil)
      let norm = weights.first { $0.name == "model.norm.weight" }!.tensor
      let read = try await client.post("/get_weights_by_name", ["name": "model.norm.weight", "truncate_size": 4]).json
      #expect(read.array?.compactMap(\.double).map(Float.init) == Array(norm.array(Float.self).prefix(4)))
      let query = try await client.post("/get_weights_by_name", ["name": "model.layers.0.self_attn.k_proj.weight"]).json
      let expected = weights.first { $0.name == "model.layers.0.self_attn.k_proj.weight" }!.tensor
      #expect(query.array?.flatMap { $0.array ?? [] }.compactMap(\.double).map(Float.init) == expected.array(Float.self))
      let missing = try await client.post("/get_weights_by_name", ["name": "nope"])
      #expect(missing.status == 400 && missing.json == ["error": ["message": "Get parameter by name failed"]])
      func check(_ action: String) async throws -> Answer { try await client.post("/weights_checker", ["action": .string(action)]) }
      let sums = try await check("checksum").json["ranks"]?.array?.first?["checksums"]
      for (name, tensor) in weights { #expect(sums?[name]?.string == tensor.withBytes { XXHash64.hex($0) }, "\(name)") }
      #expect(try await check("compare").status == 400)
      #expect(try await check("snapshot").status == 200)
      #expect(try await check("reset_tensors").status == 200)
      #expect(Self.failure(try await check("compare"))?.contains("differ") == true)
      let body: JSONValue = ["serialized_named_tensors": [.string(try Self.base64(weights))]]
      #expect(try await client.post("/update_weights_from_tensor", body).status == 200)
      #expect(try await check("compare").status == 200)
      #expect(try await check("dance").status == 400)
    }
  }

  @Test func memoryIsGivenBackAndComesAgain() async throws {
    for stashes in [true, false] {
      var options = EngineOptions(maxTotalTokens: 4096)
      options.stashesWeights = stashes
      try await Self.withEngine(options) { client, engine in
        let request: JSONValue = ["input_ids": [5, 6, 7], "sampling_params": ["max_new_tokens": 8, "temperature": 0]]
        let before = try await client.generate(request).json["output_ids"]
        #expect(try await client.post("/release_memory_occupation", ["tags": ["kv_cache", "weights"]]).status == 200)
        #expect(try await client.post("/release_memory_occupation", ["tags": ["hats"]]).status == 400)
        async let waiting = client.generate(request)
        try await eventually("it waits") { try await engine.status().waitingRequests == 1 }
        let body: JSONValue = ["serialized_named_tensors": [.string(try Self.base64(Self.weights(nil)))]]
        #expect(Self.failure(try await client.post("/update_weights_from_tensor", body)) != nil)
        #expect(try await client.post("/resume_memory_occupation", ["tags": ["weights"]]).status == 200)
        #expect(try await client.post("/resume_memory_occupation", [:]).status == 200)
        if !stashes {
          // The numbers are gone until an update brings them all.
          try await Task.sleep(for: .milliseconds(20))
          #expect(try await engine.status().waitingRequests == 1)
          #expect(try await client.post("/update_weights_from_tensor", body).status == 200)
        }
        #expect(try await waiting.json["output_ids"] == before)
      }
    }
    try await Self.withEngine { client, engine in
      async let running = client.generate(["input_ids": [5], "sampling_params": ["max_new_tokens": 400, "ignore_eos": true]])
      try await eventually("it runs") { try await engine.status().runningRequests == 1 }
      let refused = try await client.post("/release_memory_occupation", [:])
      #expect(refused.status == 400 && refused.message.contains("pause first"), "\(refused.body)")
      #expect(try await running.status == 200)
    }
  }
}
