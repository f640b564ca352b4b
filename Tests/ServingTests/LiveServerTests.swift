import Foundation
import Inference
import JSON
import Serving
import Testing

extension SocketClient {
  fileprivate func generate(_ id: String, tokens: Int, stream: Bool) {
    let body: JSONValue = [
      "input_ids": [1, 2], "rid": .string(id), "stream": .bool(stream), "sampling_params": ["max_new_tokens": .int(tokens)],
    ]
    post("/generate", body.text())
  }

  /// The text of the whole answer, and its status.
  fileprivate func waitForAnswer() async throws -> (status: Int, text: String) {
    try await onThread {
      let answer = try #require(try self.answer())
      return (answer.status, answer.text)
    }
  }
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
    let client = try SocketClient(port: port)
    switch i % 4 {
    case 0:
      // Two requests on one connection: it stays open.
      for round in 0..<2 {
        client.generate("\(id)-\(round)", tokens: 30, stream: true)
        let (status, text) = try await client.waitForAnswer()
        let events = text.components(separatedBy: "\n\n")
        #expect(status == 200 && events.count == 32 && events[30] == "data: [DONE]")
      }
    case 1, 2:
      client.generate(id, tokens: 2000, stream: i % 4 == 1)
      try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
      try await Task.sleep(for: .milliseconds(Int.random(in: 0...60)))
      client.close()
      try await eventually("\(id) is aborted") { engine.snapshot.aborted.contains(id) }
    default:
      client.generate(id, tokens: 2000, stream: true)
      async let answer = client.waitForAnswer()
      try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
      let aborted = try await Client(port: port).post("/abort_request", ["rid": .string(id)])
      #expect(aborted.status == 200)
      let text = try await answer.text
      #expect(text.contains(#""type":"abort""#) && text.hasSuffix("data: [DONE]\n\n"))
    }
  }

  /// A client that goes away before anything is sent to it is noticed as well.
  @Test func disconnectsBeforeTheFirstTokenAreNoticed() async throws {
    let engine = FakeEngine(hangs: true)
    try await Server(engine: engine, tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      for stream in [false, true] {
        let id = "hung-\(stream)"
        let client = try SocketClient(port: port)
        client.generate(id, tokens: 5, stream: stream)
        try await eventually("\(id) starts") { engine.snapshot.requests[id] != nil }
        client.close()
        try await eventually("\(id) is aborted") { engine.snapshot.aborted.contains(id) }
      }
      try await eventually("both end") { engine.snapshot.running.isEmpty }
    }
  }

  @Test func stoppingEndsLongResponsesWithWhatTheyHave() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    let started = ContinuousClock.now
    var hasty = Self.anyPort
    hasty.drainTimeout = .zero
    let answer = try await Server(engine: engine, tokenizer: nil, configuration: hasty).whileRunning { port in
      let client = try SocketClient(port: port)
      client.generate("long", tokens: 2000, stream: false)
      let answer = Task { try await client.waitForAnswer().text }
      try await eventually("it runs") { engine.snapshot.generated > 2 }
      return answer
    }
    let body = try await answer.value
    #expect(body.contains(#""type":"abort""#) && body.contains("tok0"))
    #expect(ContinuousClock.now - started < .seconds(5))
  }

  @Test func stoppingWaitsForWhatEndsInTime() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(5))
    let answer = try await Server(engine: engine, tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      let client = try SocketClient(port: port)
      client.generate("short", tokens: 40, stream: true)
      let answer = Task { try await client.waitForAnswer().text }
      try await eventually("it runs") { engine.snapshot.generated > 2 }
      return answer
    }
    #expect(try await answer.value.contains(#""type":"length","length":40"#))
  }

  @Test func anAddressInUseIsAnError() async throws {
    try await Server(engine: FakeEngine(), tokenizer: nil, configuration: Self.anyPort).whileRunning { port in
      let second = Server(engine: FakeEngine(), tokenizer: nil, configuration: ServerConfiguration(port: port))
      await #expect(throws: (any Error).self) { try await second.whileRunning { _ in } }
    }
  }
}
