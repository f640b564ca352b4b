import HTTPTypes
import HummingbirdTesting
import Inference
import JSON
import NIOCore
import Serving
import Testing

private func post(_ path: String, _ body: JSONValue) -> TestClient.Request {
  TestClient.Request(path, method: .post, headers: [.contentType: "application/json"], body: ByteBuffer(string: body.text()))
}

private func generation(_ id: String, tokens: Int, stream: Bool) -> TestClient.Request {
  post(
    "/generate",
    ["input_ids": [1, 2], "rid": .string(id), "stream": .bool(stream), "sampling_params": ["max_new_tokens": .int(tokens)]])
}

@Suite struct LiveServerTests {
  private static let anyPort = ServerConfiguration(port: 0)

  /// 64 clients at once: a quarter stays to the end, the others disconnect from a stream, disconnect while waiting for a
  /// whole answer, or are aborted by somebody else.
  @Test func everyDisconnectAbortsItsRequest() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(4))
    let server = Server(engine: engine, tokenizer: nil, configuration: Self.anyPort)
    try await server.whileRunning { port in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for i in 0..<64 { group.addTask { try await Self.visit(i, engine, port) } }
        try await group.waitForAll()
      }
      try await eventually("all requests end") { engine.snapshot.running.isEmpty }
      let state = engine.snapshot
      #expect(state.aborted == Set((0..<64).filter { $0 % 4 != 0 }.map { "c\($0)" }))
      #expect(state.finished.count == 48 + 2 * 16)
    }
  }

  private static func visit(_ i: Int, _ engine: FakeEngine, _ port: Int) async throws {
    let id = "c\(i)"
    try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
      switch i % 4 {
      case 0:
        // Two requests on one connection: it stays open.
        for round in 0..<2 {
          let response = try await client.execute(generation("\(id)-\(round)", tokens: 30, stream: true))
          let events = String(buffer: response.body ?? ByteBuffer()).components(separatedBy: "\n\n")
          #expect(response.status == .ok && events.count == 32 && events[30] == "data: [DONE]")
        }
      case 1, 2:
        try await client.executeAndDontWaitForResponse(generation(id, tokens: 2000, stream: i % 4 == 1))
        try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
        try await Task.sleep(for: .milliseconds(Int.random(in: 0...60)))
        try await client.close(mode: .all)
        try await eventually("\(id) is aborted") { engine.snapshot.aborted.contains(id) }
      default:
        async let response = client.execute(generation(id, tokens: 2000, stream: true))
        try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
        try await TestClient.withClient(host: "127.0.0.1", port: port) { other in
          let aborted = try await other.execute(post("/abort_request", ["rid": .string(id)]))
          #expect(aborted.status == .ok)
        }
        let text = try await String(buffer: response.body ?? ByteBuffer())
        #expect(text.contains(#""type":"abort""#) && text.hasSuffix("data: [DONE]\n\n"))
      }
    }
  }

  /// A client that goes away before anything is sent to it is noticed as well.
  @Test func disconnectsBeforeTheFirstTokenAreNoticed() async throws {
    let engine = FakeEngine(hangs: true)
    try await Server(engine: engine, tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      for stream in [false, true] {
        let id = "hung-\(stream)"
        try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
          try await client.executeAndDontWaitForResponse(generation(id, tokens: 5, stream: stream))
          try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
          try await client.close(mode: .all)
        }
        try await eventually("\(id) is aborted") { engine.snapshot.aborted.contains(id) }
      }
      try await eventually("both end") { engine.snapshot.running.isEmpty }
    }
  }

  @Test func stoppingEndsLongResponsesWithWhatTheyHave() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    let started = ContinuousClock.now
    let answer = try await Server(engine: engine, tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      let answer = Task {
        try await TestClient.withClient(host: "127.0.0.1", port: port) { client in
          try await client.execute(generation("long", tokens: 2000, stream: false))
        }
      }
      try await eventually("it runs") { engine.snapshot.generated > 2 }
      return answer
    }
    let body = try await String(buffer: answer.value.body ?? ByteBuffer())
    #expect(body.contains(#""type":"abort""#) && body.contains("tok0"))
    #expect(ContinuousClock.now - started < .seconds(5))
  }

  @Test func anAddressInUseIsAnError() async throws {
    try await Server(engine: FakeEngine(), tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      let second = Server(engine: FakeEngine(), tokenizer: nil, configuration: ServerConfiguration(port: port))
      await #expect(throws: (any Error).self) { try await second.whileRunning { _ in } }
    }
  }
}
