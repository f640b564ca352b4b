import Foundation
import HTTP
import Inference
import JSON
import NIOCore
import Serving
import TestSupport
import Testing

/// Runs `body` with the ports of servers over some engines.
func withServers<R: Sendable>(
  _ engines: [FakeEngine], _ configuration: ServerConfiguration = ServerConfiguration(),
  _ ports: [Int] = [], _ body: @escaping @Sendable ([Int]) async throws -> R
) async throws -> R {
  guard let engine = engines.first else { return try await body(ports) }
  return try await withClient(engine, configuration) { client in
    try await withServers(Array(engines.dropFirst()), configuration, ports + [client.port], body)
  }
}

/// Runs `body` with a client of a router over servers on some ports, once all are there.
func withRouter<R: Sendable>(
  _ ports: [Int], _ change: (inout RouterConfiguration) -> Void = { _ in }, _ body: @escaping @Sendable (Client) async throws -> R
) async throws -> R {
  var configuration = RouterConfiguration()
  configuration.port = 0
  configuration.workerURLs = ports.map { "http://127.0.0.1:\($0)" }
  configuration.workerStartupInterval = .milliseconds(10)
  configuration.initialBackoff = .milliseconds(1)
  configuration.drainTimeout = .milliseconds(50)
  change(&configuration)
  let (count, key) = (configuration.workerURLs.count, configuration.adminAPIKey)
  return try await RouterServer(configuration: configuration).whileRunning { port in
    let client = Client(port: port)
    try await eventually("all workers are there") {
      try await client.send(.get, "/workers", key: key).json["workers"]?.array?.count == count
    }
    return try await body(client)
  }
}

extension Client {
  /// A sample of `/metrics`.
  func metric(_ name: String) async throws -> Double? { samples(try await get("/metrics").body)[name] }

  /// Requests that the router believes to be at its workers.
  func routedRequests() async throws -> Int {
    try await get("/workers").json["workers"]?.array?.reduce(0) { $0 + ($1["load"]?.int ?? 0) } ?? 0
  }
}

@Suite struct RouterTests {
  @Test func forwardsByTheByte() async throws {
    let engines = [FakeEngine(), FakeEngine()]
    try await withServers(engines) { ports in
      try await withRouter(ports, { $0.policy = .roundRobin }) { router in
        let direct = Client(port: ports[0])
        for body: JSONValue in [
          ["input_ids": [1, 2], "rid": "a", "stream": true, "return_logprob": true, "sampling_params": ["max_new_tokens": 40]],
          ["input_ids": [[1], [2]], "rid": "b", "sampling_params": ["max_new_tokens": 3]], ["input_ids": [13]], ["nonsense": 1],
        ] {
          let (a, b) = (try await direct.generate(body), try await router.generate(body))
          // The times of two answers differ.
          let time = #/"response_sent_to_client_ts":[0-9.e+]+/#
          // How far a stream has come when it is looked at differs too; its last event holds everything.
          func whole(_ text: String) -> [String] {
            text.replacing(time, with: "").components(separatedBy: "\n\n").suffix(3)
          }
          #expect(whole(a.body) == whole(b.body))
          #expect(a.status == b.status && a.contentType == b.contentType)
        }
        let chat: JSONValue = ["messages": [["role": "user", "content": "hi"]], "max_tokens": 2]
        #expect(try await router.post("/v1/chat/completions", chat).json["object"] == "chat.completion")
        #expect(try await router.post("/v1/completions", ["prompt": "a"]).status == 200)
        #expect(try await router.get("/v1/models").json["data"]?.array?.map { $0["id"] } == ["models/m0"])
        for path in ["/health", "/health_generate", "/model_info", "/get_server_info", "/v1/models/models/m0"] {
          #expect(try await router.get(path).status == 200, "\(path)")
        }
        #expect(try await router.get("/v1/loads").json["loads"]?.array?.count == 2)
        #expect(try await router.post("/nowhere", [:]).status == 404)
        #expect(engines.allSatisfy { $0.snapshot.finished.count > 2 })
        #expect(try await router.metric("smg_worker_pool_size") == 2)
      }
    }
  }

  @Test func controlsAllWorkersAtOnce() async throws {
    let engines = [FakeEngine(tokenDelay: .milliseconds(5)), FakeEngine(tokenDelay: .milliseconds(5))]
    try await withServers(engines) { ports in
      try await withRouter(ports, { $0.policy = .leastLoad }) { router in
        let long: JSONValue = ["input_ids": [1], "rid": "x", "sampling_params": ["max_new_tokens": 2000]]
        async let first = router.generate(long)
        async let second = router.generate(["input_ids": [2], "sampling_params": ["max_new_tokens": 2000]])
        try await eventually("both run") { engines.allSatisfy { $0.snapshot.running.count == 1 } }
        let flushed = try await router.get("/flush_cache")
        #expect(flushed.status == 400 && flushed.json["success"] == false && flushed.json["workers"]?.array?.count == 2)
        #expect(try await router.post("/abort_request", ["rid": "x"]).json["success"] == true)
        #expect(try await first.body.contains(#""type":"abort""#))
        #expect(try await router.post("/abort_request", ["abort_all": true]).status == 200)
        #expect(try await second.body.contains(#""type":"abort""#))
        #expect(try await router.post("/flush_cache", [:]).status == 200)
        #expect(try await router.post("/pause_generation", ["mode": "retract"]).json["status"] == "ok")
        #expect(engines.allSatisfy { $0.snapshot.mode == .retract })
        #expect(try await router.post("/continue_generation", [:]).status == 200)
        #expect(engines.allSatisfy { $0.snapshot.mode == nil })
        #expect(try await router.post("/init_weights_update_group", [:]).message.contains("rank_offset"))
      }
    }
  }

  @Test func workersComeAndGoWhileRequestsRun() async throws {
    let engines = [FakeEngine(tokenDelay: .milliseconds(3)), FakeEngine(tokenDelay: .milliseconds(3))]
    try await withServers(engines) { ports in
      try await withRouter([], { $0.policy = .roundRobin }) { router in
        let urls = ports.map { JSONValue.string("http://127.0.0.1:\($0)") }
        #expect(try await router.get("/health").status == 503)
        #expect(try await router.generate(["input_ids": [1]]).status == 503)
        let added = try await router.post("/workers", ["url": urls[0], "worker_type": "regular"])
        let id = try #require(added.json["id"]?.string)
        #expect(added.status == 202)
        #expect(try await router.get("/workers/" + id).json["url"] == urls[0])
        #expect(try await router.post("/workers", ["url": .string(urls[0].string! + "/")]).message.contains("there already"))
        for (body, words) in [
          (["url": "http://127.0.0.1:1"], "does not answer"), (["url": "ftp://a"], "no URL"), ([:], "url is needed"),
          (["url": urls[1], "worker_type": "prefill"], "regular"), (["url": "http://127.0.0.1:1/v1"], "no path"),
        ] as [(JSONValue, String)] {
          let answer = try await router.post("/workers", body)
          #expect(answer.status == 400 && answer.message.contains(words), "\(answer.body)")
        }
        try await withClient(FakeEngine(), ServerConfiguration(servedModelName: "another")) { other in
          let refused = try await router.post("/workers", ["url": .string("http://127.0.0.1:\(other.port)")])
          #expect(refused.status == 400 && refused.message.contains("another router"))
        }
        async let running = router.generate(["input_ids": [1], "rid": "old", "sampling_params": ["max_new_tokens": 60]])
        try await eventually("it runs") { engines[0].snapshot.running == ["old"] }
        #expect(try await router.send(.post, "/add_worker?url=\(urls[1].string!)").status == 200)
        #expect(try await router.get("/list_workers").json["urls"] == .array(urls))
        #expect(try await router.delete("/workers/" + id).status == 202)
        #expect(try await router.delete("/workers/" + id).status == 404)
        let members = try await router.get("/workers").json["workers"]?.array
        #expect(members?.count == 2 && members?[0]["is_draining"] == true && members?[0]["load"] == 1)
        for _ in 0..<4 {
          #expect(try await router.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]]).status == 200)
        }
        #expect(engines[0].snapshot.requests.count == 1 && engines[1].snapshot.finished.count == 4)
        #expect(try await running.body.contains(#""type":"length","length":60"#))
        #expect(try await router.get("/workers").json["workers"]?.array?.count == 1)
        #expect(try await router.send(.post, "/remove_worker?url=\(urls[1].string!)").status == 200)
        #expect(try await router.get("/list_workers").json["urls"] == [])
      }
    }
  }

  @Test func sessionsStayAndGroupsShareAWorker() async throws {
    let engines = (0..<4).map { _ in FakeEngine() }
    try await withServers(engines) { ports in
      try await withRouter(ports, { $0.policy = .consistentHashing }) { (router) async throws -> Void in
        for session in 0..<12 {
          let before = engines.map { $0.snapshot.requests.count }
          for turn in 0..<4 {
            let client = HTTPClient()
            var request = HTTPClientRequest.json(
              "POST", "http://127.0.0.1:\(router.port)/generate",
              (["input_ids": [.int(turn + 1)], "sampling_params": ["max_new_tokens": 1]] as JSONValue).bytes())
            request.headers.append(("X-SMG-Routing-Key", "session \(session)"))
            #expect(try await client.collect(request, upTo: 1 << 20).status == 200)
          }
          #expect(zip(engines, before).map { $0.snapshot.requests.count - $1 }.sorted() == [0, 0, 0, 4])
        }
        #expect(engines.count { !$0.snapshot.requests.isEmpty } > 1)
      }
      let before = engines.map { $0.snapshot.requests.count }
      try await withRouter(ports) { (router) async throws -> Void in
        for prompt in 0..<8 {
          for _ in 0..<4 {
            let ids = JSONValue.array((0..<50).map { .int(prompt * 20 + $0 % 7 + 1) })
            #expect(try await router.generate(["input_ids": ids, "sampling_params": ["max_new_tokens": 1]]).status == 200)
          }
        }
      }
      #expect(zip(engines, before).allSatisfy { ($0.snapshot.requests.count - $1) % 4 == 0 })
    }
  }

  /// Workers that fail before they have said anything are none of the client's business.
  @Test func requestsOfFailedWorkersAreRetried() async throws {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: "
    let stream = head + "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    let info = head + "application/json\r\nContent-Length: 26\r\n\r\n{\"model_path\":\"models/m0\"}"
    let failures: [[ScriptedServer.Step]] = [
      [.read], [.read, .write("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")],
      [.read, .write(head + "application/json\r\nContent-Length: 100\r\n\r\n{\"text\":")],
      [.read, .write(stream)],
    ]
    for (failure, streams) in zip(failures, [false, false, false, true]) {
      let broken = try ScriptedServer([[.read, .write(info)], [.read, .write(info)]] + Array(repeating: failure, count: 20))
      try await withServers([FakeEngine()]) { ports in
        try await withRouter([broken.port] + ports, { $0.policy = .roundRobin }) { router in
          for _ in 0..<4 {
            let answer = try await router.generate([
              "input_ids": [1], "stream": .bool(streams), "sampling_params": ["max_new_tokens": 2],
            ])
            #expect(answer.status == 200 && answer.body.contains(#""type":"length""#) && !answer.body.contains("error"))
          }
          #expect(try await router.metric("smg_router_retries_total")! >= 1)
          #expect(try await router.routedRequests() == 0)
        }
      }
    }
  }

  /// A worker that dies after its first event: what came stays, half an event does not, and the end says what happened.
  @Test func aStreamThatBreaksEndsWithAnError() async throws {
    func chunk(_ text: String) -> String { String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n" }
    let head = "HTTP/1.1 200 OK\r\nContent-Type: "
    let info = head + "application/json\r\nContent-Length: 26\r\n\r\n{\"model_path\":\"models/m0\"}"
    let broken = try ScriptedServer([
      [.read, .write(info)], [.read, .write(info)],
      [
        .read, .write(head + "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"), .write(chunk("data: {\"a\":1}\n\n")),
        .sleep(milliseconds: 20), .write(chunk("data: {\"a\":2}\n\ndata: {\"a")),
      ],
    ])
    try await withRouter([broken.port]) { router in
      let answer = try await router.generate(["input_ids": [1], "stream": true])
      #expect(answer.events.count == 3 && answer.events[0] == ["a": 1] && answer.events[1] == ["a": 2])
      #expect(answer.events.last?["error"]?["code"] == 502)
      #expect(try await router.routedRequests() == 0)
      #expect(try await router.metric("smg_router_broken_streams_total") == 1)
    }
  }

  @Test func aDeadWorkerIsTakenOutAndPutBack() async throws {
    let (first, second) = (FakeEngine(), FakeEngine())
    @Sendable func change(_ configuration: inout RouterConfiguration) {
      configuration.policy = .roundRobin
      configuration.healthCheckInterval = .milliseconds(20)
      (configuration.healthFailureThreshold, configuration.healthSuccessThreshold) = (2, 2)
    }
    try await withServers([first]) { ports in
      // The second worker's port must be known before it dies and after.
      var fixed = ServerConfiguration()
      fixed.port = try await withServers([FakeEngine()]) { $0[0] }
      let place = fixed
      try await withRouter(ports, change) { router in
        @Sendable func health() async throws -> [JSONValue?] {
          try await router.get("/workers").json["workers"]?.array?.map { $0["is_healthy"] } ?? []
        }
        try await Server(engine: second, tokenizer: nil, configuration: place).whileRunning { (port) async throws -> Void in
          #expect(try await router.post("/workers", ["url": .string("http://127.0.0.1:\(port)")]).status == 202)
        }
        for _ in 0..<6 {
          #expect(try await router.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]]).status == 200)
        }
        try await eventually("it is out") { try await health() == [true, false] }
        let before = first.snapshot.requests.count
        for _ in 0..<4 { _ = try await router.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]]) }
        #expect(first.snapshot.requests.count == before + 4)
        try await Server(engine: second, tokenizer: nil, configuration: place).whileRunning { _ in
          try await eventually("it is back") { try await health() == [true, true] }
          for _ in 0..<4 { _ = try await router.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]]) }
          #expect(second.snapshot.requests.count == 2)
        }
      }
    }
  }

  @Test func limitsAndKeys() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    var keyed = ServerConfiguration(apiKey: "inner")
    keyed.drainTimeout = .zero
    try await withServers([engine], keyed) { ports in
      try await withRouter([], { configuration in
        (configuration.apiKey, configuration.adminAPIKey, configuration.workerAPIKey) = ("outer", "root", "inner")
        (configuration.maxConcurrentRequests, configuration.maxPayloadBytes) = (2, 200)
        configuration.requestTimeout = .milliseconds(300)
      }) { router in
        let worker: JSONValue = ["url": .string("http://127.0.0.1:\(ports[0])")]
        #expect(try await router.send(.post, "/workers", worker.text(), key: "outer").status == 401)
        #expect(try await router.send(.post, "/workers", worker.text(), key: "root").status == 202)
        #expect(try await router.generate(["input_ids": [1]]).status == 401)
        let quick = #"{"input_ids":[1],"sampling_params":{"max_new_tokens":1}}"#
        #expect(try await router.send(.post, "/generate", quick, key: "outer").status == 200)
        let huge = "{\"text\":\"\(String(repeating: "a", count: 300))\"}"
        #expect(try await router.send(.post, "/generate", huge, key: "outer").status == 413)
        let long = #"{"input_ids":[1],"sampling_params":{"max_new_tokens":1000}}"#
        async let one = router.send(.post, "/generate", long, key: "outer")
        async let two = router.send(.post, "/generate", long, key: "outer")
        try await eventually("both run") { engine.snapshot.running.count == 2 }
        #expect(try await router.send(.post, "/generate", quick, key: "outer").status == 503)
        #expect(try await [one.status, two.status] == [504, 504])
        try await eventually("both are aborted") { engine.snapshot.running.isEmpty }
        #expect(try await router.send(.post, "/generate", quick, key: "outer").status == 200)
      }
    }
  }

  /// 64 clients at once over three workers, one of which fails now and then; half of them leave in the middle. Every request
  /// that reached an engine ends, and the router's counters come back to nothing.
  @Test(arguments: [1, 2] as [UInt64], [RoutingPolicyKind.cacheAware, .powerOfTwo])
  func nothingLeaksWhateverClientsDo(seed: UInt64, policy: RoutingPolicyKind) async throws {
    let engines = (0..<3).map { _ in FakeEngine(tokenDelay: .milliseconds(1)) }
    try await withServers(engines) { ports in
      try await withRouter(ports, { $0.policy = policy }) { router in
        let problems = try await withThrowingTaskGroup(of: String?.self) { group in
          for index in 0..<64 { group.addTask { try await onThread { try Self.visit(index, seed, router.port) } } }
          return try await group.reduce(into: [String]()) { if let problem = $1 { $0.append(problem) } }
        }
        #expect(problems == [])
        try await eventually("every engine is idle") { engines.allSatisfy { $0.snapshot.running.isEmpty } }
        try await eventually("no worker has a load") { try await router.routedRequests() == 0 }
        try await eventually("no request is active") { try await router.metric("smg_router_requests_active") == 0 }
        let all = engines.map(\.snapshot)
        #expect(all.allSatisfy { $0.finished.count == $0.requests.count })
        #expect(all.reduce(0) { $0 + $1.requests.count } >= 40)
        #expect(try await router.metric("smg_router_client_disconnects_total")! > 5)
        #expect(try await router.generate(["input_ids": [1], "sampling_params": ["max_new_tokens": 1]]).status == 200)
      }
    }
  }

  /// - Returns: what went wrong.
  private static func visit(_ index: Int, _ seed: UInt64, _ port: Int) throws -> String? {
    var random = SeededGenerator(state: seed &* 7919 &+ UInt64(index))
    let client = try SocketClient(port: port)
    let streams = Bool.random(using: &random)
    let leaves = index % 2 == 0
    let count = leaves ? 1500 : Int.random(in: 1...40, using: &random)
    client.post(
      "/generate",
      #"{"input_ids":[\#(index % 8 + 1)],"rid":"c\#(index)","stream":\#(streams),"sampling_params":{"max_new_tokens":\#(count)}}"#)
    if leaves {
      if streams, index % 4 == 0, let head = try client.head(), head.isChunked {
        for _ in 0..<Int.random(in: 1...5, using: &random) { _ = try client.chunk() }
      } else {
        usleep(UInt32.random(in: 0...40_000, using: &random))
      }
      client.close(reset: Bool.random(using: &random))
      return nil
    }
    guard let answer = try client.answer(), answer.status == 200 else { return "c\(index): no answer" }
    let ends = answer.text.contains(#""type":"length","length":\#(count)}"#)
    return ends && !answer.text.contains("error") ? nil : "c\(index): \(answer.text.suffix(200))"
  }
}
