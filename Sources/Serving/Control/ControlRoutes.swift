import Hummingbird
import Inference
import JSON

extension ServerState {
  /// How often a flush that was asked to wait tries again, and the longest it may be asked to.
  private static let flushInterval: Duration = .milliseconds(20)
  private static let longestFlush = 600.0

  func addControlRoutes(to router: Router<ServingContext>) {
    router.post("abort_request") { request, _ in
      try await abort(Fields(try await json(request)))
      return Response(text: "")
    }
    for method in [HTTPRequest.Method.get, .post] {
      router.on("flush_cache", method: method) { request, _ in try await flush(request) }
    }
    router.post("pause_generation") { request, _ in
      let fields = try Fields(try await json(request))
      try fields.expectOnly(["mode"])
      let modes = PauseMode.allCases.map(\.rawValue).joined(separator: ", ")
      let mode = try fields.typed("mode", "one of \(modes)") { $0.string.flatMap(PauseMode.init) }
      try await engine.pause(mode ?? .abort)
      return Response(json: ["message": "Generation is paused.", "status": "ok"])
    }
    router.post("continue_generation") { request, _ in
      _ = try Fields(try await json(request))
      try await engine.resume()
      return Response(json: ["message": "Generation continues.", "status": "ok"])
    }
  }

  /// Aborts the request with an id, or all members of the batch that was given it. An unknown id does nothing: the
  /// request may have just ended.
  private func abort(_ fields: Fields) async throws {
    try fields.expectOnly(["rid", "abort_all", "abort_message"])
    if try fields.bool("abort_all") ?? false { return await engine.abort(nil) }
    guard let id = try fields.string("rid"), !id.isEmpty else { return }
    for member in live.members(of: id) { await engine.abort(member) }
  }

  private func flush(_ request: Request) async throws -> Response {
    var patience = 0.0
    if let timeout = request.uri.queryParameters["timeout"] {
      guard let seconds = Double(timeout), (0...Self.longestFlush).contains(seconds) else {
        throw InvalidRequest("timeout must be a number of seconds up to \(Int(Self.longestFlush)), got \(timeout).")
      }
      patience = seconds
    }
    let deadline = ContinuousClock.now + .seconds(patience)
    repeat {
      if await engine.flushCache() { return Response(text: "The cache is flushed.\n") }
      if patience > 0 { try await Task.sleep(for: Self.flushInterval) }
    } while ContinuousClock.now < deadline
    return Response(text: "The cache was not flushed: requests are running.\n", status: .badRequest)
  }
}
