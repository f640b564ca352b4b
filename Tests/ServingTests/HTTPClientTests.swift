import Foundation
import Glibc
import HTTP
import JSON
import NIOCore
import Serving
import Testing

/// A server that answers each connection with the next of some scripts, byte for byte.
final class ScriptedServer: @unchecked Sendable {
  enum Step: Sendable {
    /// Reads up to the end of a request's head.
    case read
    case write(String)
    case sleep(milliseconds: Int)
    /// Keeps the connection open until the server ends.
    case hang
  }
  let port: Int
  private let descriptor: Int32

  init(_ scripts: [[Step]]) throws {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    descriptor = listener
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
        _ = bind(listener, pointer, size)
        _ = listen(listener, 64)
        _ = getsockname(listener, pointer, &size)
      }
    }
    port = Int(UInt16(bigEndian: address.sin_port))
    Thread {
      for script in scripts {
        let connection = accept(listener, nil, nil)
        guard connection >= 0 else { return }
        Thread { Self.play(script, connection) }.start()
      }
    }.start()
  }

  deinit {
    shutdown(descriptor, Int32(SHUT_RDWR))
    close(descriptor)
  }

  private static func play(_ script: [Step], _ connection: Int32) {
    defer { close(connection) }
    var seen: [UInt8] = []
    for step in script {
      switch step {
      case .read:
        while !String(decoding: seen, as: UTF8.self).contains("\r\n\r\n") {
          var bytes = [UInt8](repeating: 0, count: 4096)
          let count = recv(connection, &bytes, bytes.count, 0)
          if count <= 0 { return }
          seen += bytes[..<count]
        }
        seen = []
      case .write(let text):
        let bytes = Array(text.utf8)
        if send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) < 0 { return }
      case .sleep(let milliseconds): usleep(UInt32(milliseconds * 1000))
      case .hang:
        var byte: UInt8 = 0
        while recv(connection, &byte, 1, 0) > 0 {}
      }
    }
  }
}

@Suite struct HTTPClientTests {
  @Test func keepsConnectionsAndReadsEveryKindOfBody() async throws {
    let client = HTTPClient()
    try await withClient { server in
      for round in 1...5 {
        let body: JSONValue = ["input_ids": [1], "sampling_params": ["max_new_tokens": .int(round)]]
        let answer = try await client.collect(
          .json("POST", "http://127.0.0.1:\(server.port)/generate", body.bytes()), upTo: 1 << 20)
        #expect(try JSONValue(parsing: String(buffer: answer.body))["output_ids"]?.array?.count == round)
        #expect(client.idleConnections == 1)
      }
      let streamed = try await client.send(
        .json(
          "POST", "http://localhost:\(server.port)/generate",
          (["input_ids": [1], "stream": true, "sampling_params": ["max_new_tokens": 300]] as JSONValue).bytes()))
      #expect(streamed.header("Content-Type")?.hasPrefix("text/event-stream") == true)
      #expect(String(buffer: try await streamed.collect(upTo: 1 << 24)).hasSuffix("data: [DONE]\n\n"))
      #expect(client.idleConnections == 2)
      await #expect(throws: HTTPClientError.tooLarge("127.0.0.1:\(server.port)", limit: 10)) {
        try await client.collect(HTTPClientRequest("GET", "http://127.0.0.1:\(server.port)/server_info"), upTo: 10)
      }
    }
    let old = try ScriptedServer([[.read, .write("HTTP/1.0 200 OK\r\n\r\nuntil the end")]])
    let answer = try await client.collect(HTTPClientRequest("GET", "http://127.0.0.1:\(old.port)"), upTo: 100)
    #expect(String(buffer: answer.body) == "until the end")
  }

  /// What a server does, and the error that it makes.
  static let failures: [(script: [ScriptedServer.Step], error: @Sendable (String) -> HTTPClientError)] = [
    ([.read], { .closed($0, beganAnswer: false) }),
    ([.read, .write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")], { .closed($0, beganAnswer: true) }),
    ([.read, .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")], { .closed($0, beganAnswer: true) }),
    ([.read, .hang], { .timedOut($0, after: .milliseconds(150)) }),
    ([.read, .write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), .hang], { .timedOut($0, after: .milliseconds(150)) }),
  ]

  @Test func failuresAreTold() async throws {
    let client = HTTPClient()
    for (script, error) in Self.failures {
      let server = try ScriptedServer([script])
      let name = "127.0.0.1:\(server.port)"
      await #expect(throws: error(name)) {
        try await client.collect(HTTPClientRequest("POST", "http://\(name)/x", timeout: .milliseconds(150)), upTo: 100)
      }
    }
    let noise = try ScriptedServer([[.read, .write("SSH-2.0-OpenSSH\r\n\r\n")]])
    do {
      _ = try await client.send(HTTPClientRequest("GET", "http://127.0.0.1:\(noise.port)/"))
      Issue.record("noise is an answer")
    } catch let error as HTTPClientError { #expect("\(error)".contains("HTTP/1.1")) }
    for url in ["https://a/", "nonsense", "http://", "http://a:99999/", ""] {
      await #expect(throws: HTTPClientError.badURL(url)) { try await client.send(HTTPClientRequest("GET", url)) }
    }
    await #expect(throws: HTTPClientError.self) { try await client.send(HTTPClientRequest("GET", "http://127.0.0.1:1/")) }
    #expect(client.idleConnections == 0)
  }

  /// A server that closes a connection that was kept open: what may be asked twice is, the rest is an error.
  @Test func closedIdleConnections() async throws {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    for (method, succeeds) in [("GET", true), ("POST", false)] {
      let server = try ScriptedServer([[.read, .write(answer), .read], [.read, .write(answer)]])
      let client = HTTPClient()
      let url = "http://127.0.0.1:\(server.port)/"
      _ = try await client.collect(HTTPClientRequest("GET", url), upTo: 10)
      #expect(client.idleConnections == 1)
      let second = try? await client.collect(HTTPClientRequest(method, url), upTo: 10)
      #expect((second?.status == 200) == succeeds)
    }
  }

  @Test func cancellingClosesTheConnection() async throws {
    let engine = FakeEngine(tokenDelay: .milliseconds(2))
    let client = HTTPClient()
    try await withClient(engine) { server in
      for streams in [false, true] {
        let body: JSONValue = [
          "input_ids": [1], "rid": streams ? "s" : "w", "stream": .bool(streams), "sampling_params": ["max_new_tokens": 2000],
        ]
        let work = Task {
          try await client.collect(.json("POST", "http://127.0.0.1:\(server.port)/generate", body.bytes()), upTo: 1 << 26)
        }
        try await eventually("it runs") { !engine.snapshot.running.isEmpty }
        work.cancel()
        await #expect(throws: (any Error).self) { try await work.value }
        try await eventually("it is aborted") { engine.snapshot.running.isEmpty }
      }
      // One that is dropped unread.
      let long: JSONValue = ["input_ids": [1], "stream": true, "sampling_params": ["max_new_tokens": 2000]]
      do { _ = try await client.send(.json("POST", "http://127.0.0.1:\(server.port)/generate", long.bytes())) }
      try await eventually("all three end") { engine.snapshot.finished.count == 3 }
      #expect(client.idleConnections == 0)
    }
  }

  /// A body that nobody reads does not pile up here: the server cannot go on writing.
  @Test func readsNoFasterThanItsReader() async throws {
    let part = String(repeating: "x", count: 1 << 16)
    let chunk = "10000\r\n\(part)\r\n"
    let parts = 2000
    let server = try ScriptedServer([
      [.read, .write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")]
        + Array(repeating: .write(chunk), count: parts) + [.write("0\r\n\r\n")]
    ])
    let client = HTTPClient()
    let response = try await client.send(HTTPClientRequest("GET", "http://127.0.0.1:\(server.port)/"))
    let before = try residentBytes()
    try await Task.sleep(for: .milliseconds(200))
    let after = try residentBytes()
    #expect(after - before < 60 << 20)
    var count = 0
    for try await buffer in response.body { count += buffer.readableBytes }
    #expect(count == parts << 16)
  }
}

private func residentBytes() throws -> Int {
  let pages = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")[1]
  return (Int(pages) ?? 0) * 4096
}
