import Foundation
import Hummingbird
import HummingbirdTesting
import Inference
import JSON
import Serving
import Testing

/// An answer, read as JSON or as a stream of events.
struct Answer {
  let status: Int
  let body: String
  let headers: HTTPFields

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

/// A client of a router; no sockets.
struct Client: Sendable {
  let client: any TestClientProtocol

  func send(_ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, key: String? = nil) async throws -> Answer {
    var headers: HTTPFields = [:]
    if let key { headers[.authorization] = "Bearer \(key)" }
    return try await client.execute(uri: path, method: method, headers: headers, body: body.map(ByteBuffer.init(string:))) {
      Answer(status: $0.status.code, body: String(buffer: $0.body), headers: $0.headers)
    }
  }

  func post(_ path: String, _ body: JSONValue) async throws -> Answer { try await send(.post, path, body.text()) }
  func generate(_ body: JSONValue) async throws -> Answer { try await post("/generate", body) }
  func get(_ path: String) async throws -> Answer { try await send(.get, path) }
}

/// Runs `body` with a client of a server over `engine`.
func withClient<R: Sendable>(
  _ engine: FakeEngine = FakeEngine(), tokenizer: (any PromptEncoder)? = ByteEncoder(),
  _ configuration: ServerConfiguration = ServerConfiguration(), _ body: @Sendable (Client) async throws -> R
) async throws -> R {
  try await Server(engine: engine, tokenizer: tokenizer, configuration: configuration).application()
    .test(.router) { try await body(Client(client: $0)) }
}
