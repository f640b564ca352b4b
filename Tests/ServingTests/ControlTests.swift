import Inference
import JSON
import Serving
import Testing

/// Waits until a condition holds; a test that waits in vain fails.
func eventually(_ what: String, within limit: Duration = .seconds(5), _ holds: () async throws -> Bool) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !holds() {
    try #require(ContinuousClock.now < deadline, "never: \(what)")
    try await Task.sleep(for: .milliseconds(2))
  }
}

@Suite struct ControlTests {
  @Test func informs() async throws {
    var configuration = ServerConfiguration(servedModelName: "tiny")
    configuration.arguments = ["tp_size": 4]
    try await withClient(FakeEngine(), configuration) { (client) async throws -> Void in
      for path in ["/model_info", "/get_model_info"] {
        let info = try await client.get(path).json
        #expect(info["model_path"] == "models/m0" && info["served_model_name"] == "tiny" && info["weight_version"] == "default")
      }
      for path in ["/server_info", "/get_server_info"] {
        let info = try await client.get(path).json
        #expect(info["tp_size"] == 4 && info["max_total_num_tokens"] == 8192 && info["context_length"] == 2048)
      }
      for path in ["/weight_version", "/get_weight_version"] {
        #expect(try await client.get(path).json == ["weight_version": "default"])
      }
      #expect(try await client.get("/v1/models").json["data"]?.array?.first?["id"] == "tiny")
      #expect(try await client.get("/v1/models/tiny").json["max_model_len"] == 2048)
      let missing = try await client.get("/v1/models/other")
      #expect(missing.status == 404 && missing.json["object"] == "error")
      let core = try await client.get("/v1/loads?include=core").json["loads"]?.array?.first
      #expect(core?["num_used_tokens"] == 192 && core?["max_total_num_tokens"] == 8192 && core?["queues"] == nil)
    }
    try await withClient { (client) async throws -> Void in
      #expect(try await client.get("/v1/models/models/m0").json["id"] == "models/m0")
      let unknown = try await client.post("/nope", [:])
      #expect(unknown.status == 404 && unknown.json == ["detail": "Not Found"])
    }
  }

  @Test func healthOfALiveAndOfAHangingEngine() async throws {
    var impatient = ServerConfiguration()
    impatient.healthTimeout = .milliseconds(50)
    try await withClient(FakeEngine(), impatient) { (client) async throws -> Void in
      for path in ["/health", "/ready", "/ping", "/health_generate"] { #expect(try await client.get(path).status == 200) }
    }
    let hanging = FakeEngine(hangs: true)
    try await withClient(hanging, impatient) { (client) async throws -> Void in
      #expect(try await client.get("/health").status == 200)
      #expect(try await client.get("/health_generate").status == 503)
    }
    #expect(hanging.snapshot.aborted.count == 1)
  }

  /// Which of no key, a wrong one, the key and the admin key open a route that generates and one that controls.
  @Test(arguments: [
    (api: "secret", admin: String?.none, plain: "..x.", control: "..x."), ("secret", "root", "..xx", "...x"),
    (nil, "root", "xxxx", "...x"), (nil, nil, "xxxx", "xxxx"),
  ] as [(api: String?, admin: String?, plain: String, control: String)])
  func keys(api: String?, admin: String?, plain: String, control: String) async throws {
    var configuration = ServerConfiguration(apiKey: api)
    configuration.adminAPIKey = admin
    try await withClient(FakeEngine(), configuration) { (client) async throws -> Void in
      for path in ["/health", "/ready", "/metrics"] { #expect(try await client.get(path).status == 200) }
      for (path, opened) in [("/model_info", plain), ("/v1/models", plain), ("/flush_cache", control), ("/nowhere", control)] {
        for (key, isOpen) in zip([nil, "secre", "secret", "root"], opened) {
          let status = try await client.send(.get, path, key: key).status
          #expect(isOpen == "x" ? status == 200 || status == 404 : status == 401, "\(path) with \(key ?? "no key"): \(status)")
        }
      }
    }
  }

  @Test func abortsMeanExactIDsAndTheirBatches() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    try await withClient(engine) { client in
      let long: JSONValue = ["max_new_tokens": 1000]
      async let one = client.generate(["input_ids": [1], "rid": "q-1", "sampling_params": long])
      async let ten = client.generate(["input_ids": [1], "rid": "q-10", "sampling_params": ["max_new_tokens": 30]])
      async let batch = client.generate(["input_ids": [[1], [2]], "rid": "grp", "sampling_params": long])
      try await eventually("all run") { engine.snapshot.running.count == 4 }
      let twice = try await client.generate(["input_ids": [1], "rid": "q-1"])
      #expect(twice.status == 400 && twice.message.contains("Duplicate request id: q-1"))
      #expect(try await client.generate(["input_ids": [1], "rid": "grp"]).status == 400)
      for body in [["rid": "q-1"], ["rid": "grp"], ["rid": ""], [:], ["rid": "nobody"]] as [JSONValue] {
        #expect(try await client.post("/abort_request", body).status == 200)
      }
      let aborted: JSONValue = ["type": "abort", "message": "Aborted", "status_code": nil, "err_type": nil]
      #expect(try await one.json["meta_info"]?["finish_reason"] == aborted)
      #expect(try await batch.json.array?.map { $0["meta_info"]?["finish_reason"] } == [aborted, aborted])
      #expect(try await ten.json["meta_info"]?["finish_reason"] == ["type": "length", "length": 30])
      #expect(try await client.generate(["input_ids": [1], "rid": "q-2", "sampling_params": ["max_new_tokens": 1]]).status == 200)
      async let last = client.generate(["input_ids": [1], "sampling_params": long])
      try await eventually("the last runs") { engine.snapshot.running.count == 1 }
      #expect(try await client.post("/abort_request", ["abort_all": true]).status == 200)
      #expect(try await last.json["meta_info"]?["finish_reason"] == aborted)
      #expect(try await client.post("/abort_request", ["rid": 5]).status == 400)
    }
  }

  @Test func flushesWhenIdleOrAfterWaiting() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    try await withClient(engine) { (client) async throws -> Void in
      #expect(try await client.get("/flush_cache").status == 200)
      async let busy = client.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 20]])
      try await eventually("it runs") { engine.snapshot.running.count == 1 }
      #expect(try await client.post("/flush_cache", [:]).status == 400)
      #expect(try await client.send(.post, "/flush_cache?timeout=5").status == 200)
      #expect(try await busy.status == 200)
      #expect(try await client.get("/flush_cache?timeout=soon").status == 400)
    }
  }

  @Test func pausesAndContinues() async throws {
    let engine = FakeEngine()
    try await withClient(engine) { client in
      for mode in PauseMode.allCases {
        #expect(try await client.post("/pause_generation", ["mode": .string(mode.rawValue)]).json["status"] == "ok")
        #expect(engine.snapshot.mode == mode)
        async let waiting = client.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]])
        try await eventually("it waits") { engine.snapshot.running.count == 1 }
        #expect(try await client.post("/continue_generation", [:]).json["status"] == "ok")
        #expect(try await waiting.status == 200)
      }
      #expect(try await client.post("/pause_generation", [:]).status == 200 && engine.snapshot.mode == .abort)
      let bad = try await client.post("/pause_generation", ["mode": "zzz"])
      #expect(bad.status == 400 && bad.message.contains("abort, retract, in_place"))
      #expect(try await client.send(.post, "/pause_generation").status == 400)
    }
  }
}
