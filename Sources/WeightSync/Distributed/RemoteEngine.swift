import Foundation
import HTTP
import Inference
import JSON
import Models
import NIOCore

/// An engine behind SGLang's HTTP API: ours or SGLang's own.
public struct RemoteEngine: Sendable {
  /// Most bytes of an answer.
  private static let answerLimit = 1 << 30

  /// `http://host:port`.
  public let address: String
  /// What errors call it.
  public var name: String { "the engine at \(address)" }
  let host: String
  private let timeout: Duration
  private let client = HTTPClient()

  /// - Parameters:
  ///   - server: `http://host:port` or `host:port`.
  ///   - timeout: for each request.
  public init(_ server: String, timeout: Duration = .seconds(120)) throws(HTTPClientError) {
    let place = try HTTPAddress(server: server)
    (address, host, self.timeout) = ("http://\(place)", place.host, timeout)
  }

  /// The answer, whatever its status.
  /// - Throws: `WeightSyncError` that names the engine.
  package func send(
    _ method: String, _ path: String, _ body: JSONValue? = nil, timeout: Duration? = nil
  ) async throws -> (status: Int, body: Data) {
    let (url, timeout) = (address + path, timeout ?? self.timeout)
    var request = body.map { HTTPClientRequest.json(method, url, $0.data(), timeout: timeout) }
      ?? HTTPClientRequest(method, url, timeout: timeout)
    // A server may close a connection that nobody used for a while.
    request.isReplayable = true
    do {
      let answer = try await client.collect(request, upTo: Self.answerLimit)
      return (answer.status, Data(answer.body.readableBytesView))
    } catch HTTPClientError.cancelled where Task.isCancelled {
      throw CancellationError()
    } catch let error as HTTPClientError {
      throw WeightSyncError("The engine at \(address) failed at \(path): \(error)")
    }
  }

  /// The answer's body as JSON, where it has one.
  /// - Throws: `WeightSyncError` with the engine's own message unless it answers 200.
  @discardableResult
  package func post(_ path: String, _ body: JSONValue = [:], timeout: Duration? = nil) async throws -> JSONValue {
    let answer = try await send("POST", path, body, timeout: timeout)
    let json = (try? JSONValue(parsing: answer.body)) ?? .null
    guard answer.status == 200 else {
      let message = json["message"]?.string ?? json["error"]?["message"]?.string ?? String(decoding: answer.body, as: UTF8.self)
      throw WeightSyncError("The engine at \(address) answered \(answer.status) to \(path): \(message)")
    }
    return json
  }

  /// What the first of some paths answers that the engine knows.
  package func get(_ paths: String...) async throws -> JSONValue {
    for path in paths {
      let answer = try await send("GET", path)
      if answer.status == 404 { continue }
      guard answer.status == 200, let json = try? JSONValue(parsing: answer.body), json.object != nil else {
        throw WeightSyncError("The engine at \(address) answered \(answer.status) to \(path), not 200 with a JSON object.")
      }
      return json
    }
    throw WeightSyncError("The engine at \(address) does not know \(paths.joined(separator: " nor ")).")
  }

  /// What an engine tells of itself that decides how it is sent weights.
  struct Traits: Sendable {
    /// Each joins a group.
    var rankCount: Int?
    /// Whether an update waits beside the weights that it serves, whole or not at all, as ours do. SGLang's own engines write
    /// what comes into the model and must not generate meanwhile.
    var stagesUpdates: Bool
    var isOnCPU: Bool
    /// Whether it was told to keep plain numbers of a checkpoint in e4m3.
    var keepsPlainNumbers: Bool
  }

  func traits() async throws -> Traits {
    let info = try await get("/server_info", "/get_server_info")
    return Traits(
      rankCount: info["tp_size"]?.int.map { $0 * (info["pp_size"]?.int ?? 1) },
      stagesUpdates: info["stages_weight_updates"]?.bool ?? false, isOnCPU: info["device"]?.string == "cpu",
      keepsPlainNumbers: info["quantization"]?.string == WeightQuantization.unquantized.rawValue)
  }

  func stagesUpdates() async throws -> Bool { try await traits().stagesUpdates }

  func isReachable() async -> Bool { (try? await send("GET", "/health", timeout: .seconds(5)))?.status == 200 }

  /// Stops sampling; requests give their KV back. What was computed with older weights is forgotten.
  func pause(_ mode: PauseMode) async throws {
    try await post("/pause_generation", ["mode": .string(mode.rawValue)])
    try await flushCache()
  }

  /// Opens an update; false where the engine knows no sessions (SGLang before 0.5.20), and takes each bucket for itself.
  func begin() async throws -> Bool {
    let answer = try await send("POST", "/begin_weight_update", [:])
    guard answer.status == 200 || answer.status == 404 else {
      throw WeightSyncError("The engine at \(address) cannot begin an update: \(String(decoding: answer.body, as: UTF8.self))")
    }
    return answer.status == 200
  }

  /// Forgets what was computed with older weights. Requests that are still ending are waited for.
  func flushCache() async throws {
    let deadline = ContinuousClock.now + timeout
    while try await send("GET", "/flush_cache").status != 200 {
      guard ContinuousClock.now < deadline else {
        throw WeightSyncError("The engine at \(address) did not flush its cache within \(timeout).")
      }
      try await Task.sleep(for: .milliseconds(200))
    }
  }
}

/// The engines of an update together.
extension [RemoteEngine] {
  func forEach(_ body: @escaping @Sendable (RemoteEngine) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for engine in self { group.addTask { try await body(engine) } }
      try await group.waitForAll()
    }
  }
}
