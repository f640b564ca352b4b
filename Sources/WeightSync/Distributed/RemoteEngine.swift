import Foundation
import JSON

/// An engine behind SGLang's HTTP API, as a trainer sees it: ours or SGLang's own.
struct RemoteEngine: Sendable {
  let client: HTTPClient
  let timeout: Duration

  /// The answer's body as JSON, where it has one.
  /// - Throws: `WeightSyncError` with the engine's own message unless it answers 200.
  @discardableResult
  func post(_ path: String, _ body: JSONValue = [:]) async throws -> JSONValue {
    let answer = try await client.send("POST", path, body.data(), timeout: timeout)
    let json = (try? JSONValue(parsing: answer.body)) ?? .null
    guard answer.status == 200 else {
      let message = json["message"]?.string ?? json["error"]?["message"]?.string ?? String(decoding: answer.body, as: UTF8.self)
      throw WeightSyncError("The engine at \(client.address) answered \(answer.status) to \(path): \(message)")
    }
    return json
  }

  /// How many ranks the engine has, each of which joins a group.
  func rankCount() async throws -> Int {
    let answer = try await client.send("GET", "/server_info", timeout: timeout)
    guard answer.status == 200, let count = try JSONValue(parsing: answer.body)["tp_size"]?.int else {
      throw WeightSyncError("The engine at \(client.address) does not tell its tp_size in /server_info.")
    }
    return count
  }

  /// Opens an update; false where the engine knows no sessions (SGLang before 0.5.20), and takes each bucket for itself.
  func begin() async throws -> Bool {
    let answer = try await client.send("POST", "/begin_weight_update", Data("{}".utf8), timeout: timeout)
    guard answer.status == 200 || answer.status == 404 else {
      throw WeightSyncError("The engine at \(client.address) cannot begin an update: \(String(decoding: answer.body, as: UTF8.self))")
    }
    return answer.status == 200
  }

  /// Forgets what was computed with older weights. Requests that are still ending are waited for.
  func flushCache() async throws {
    let deadline = ContinuousClock.now + timeout
    while try await client.send("GET", "/flush_cache", timeout: timeout).status != 200 {
      guard ContinuousClock.now < deadline else {
        throw WeightSyncError("The engine at \(client.address) did not flush its cache within \(timeout).")
      }
      try await Task.sleep(for: .milliseconds(200))
    }
  }
}
