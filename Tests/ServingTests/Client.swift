import Foundation
import Inference
import JSON
import Serving
import Testing

/// An answer, read as JSON or as a stream of events.
struct Answer {
  let status: Int
  let contentType: String?
  let body: String

  var json: JSONValue { (try? JSONValue(parsing: body)) ?? .null }
  /// The message of an error, in either style.
  var message: String { json["error"]?["message"]?.string ?? json["message"]?.string ?? "" }
  /// The events of a stream, without the closing `[DONE]`.
  var events: [JSONValue] {
    let texts = body.components(separatedBy: "\n\n").filter { !$0.isEmpty }
    #expect(texts.last == "data: [DONE]")
    return texts.dropLast().compactMap { try? JSONValue(parsing: String($0.dropFirst("data: ".count))) }
  }
}

/// A client that opens a connection for each request.
struct Client: Sendable {
  enum Method: String { case get = "GET", post = "POST", put = "PUT", delete = "DELETE" }

  let port: Int

  func send(_ method: Method, _ path: String, _ body: String? = nil, key: String? = nil) async throws -> Answer {
    try await onThread {
      let client = try SocketClient(port: port)
      client.request(
        method.rawValue, path, headers: key.map { "Authorization: Bearer \($0)\r\n" } ?? "", Array((body ?? "").utf8))
      let answer = try #require(try client.answer())
      return Answer(status: answer.status, contentType: answer.contentType, body: answer.text)
    }
  }

  func post(_ path: String, _ body: JSONValue) async throws -> Answer { try await send(.post, path, body.text()) }
  func generate(_ body: JSONValue) async throws -> Answer { try await post("/generate", body) }
  func get(_ path: String) async throws -> Answer { try await send(.get, path) }
  func delete(_ path: String) async throws -> Answer { try await send(.delete, path) }
}

/// Runs `body` with a client of a server over `engine`.
func withClient<R: Sendable>(
  _ engine: FakeEngine = FakeEngine(), tokenizer: (any PromptEncoder)? = ByteEncoder(),
  _ configuration: ServerConfiguration = ServerConfiguration(), _ body: @escaping @Sendable (Client) async throws -> R
) async throws -> R {
  var configuration = configuration
  configuration.port = 0
  return try await Server(engine: engine, tokenizer: tokenizer, configuration: configuration)
    .whileRunning { try await body(Client(port: $0)) }
}
