import HTTP
import HTTPTypes
import Hummingbird
import Inference
import JSON
import NIOCore
import ServiceLifecycle

/// Routes that one worker serves.
extension RouterState {
  /// Statuses of a worker that another one may not have.
  private static let retryable: Set<Int> = [408, 429, 500, 502, 503, 504]

  func addForwardingRoutes(to router: Router<ServingContext>) {
    for path in ["generate", "v1/completions", "v1/chat/completions", "tokenize", "detokenize"] as [RouterPath] {
      router.post(path) { try await forward($0, $1) }
    }
    router.put("generate") { try await forward($0, $1) }
    for path in ["health_generate", "model_info", "get_model_info", "server_info", "get_server_info"] as [RouterPath] {
      router.get(path) { try await forward($0, $1) }
    }
    for path in ["weight_version", "get_weight_version"] as [RouterPath] { router.get(path) { try await forward($0, $1) } }
  }

  private func forward(_ request: Request, _ context: ServingContext) async throws -> Response {
    guard let place = counts.enter(limit: configuration.maxConcurrentRequests) else {
      throw StatusError(
        status: .serviceUnavailable,
        message: "The router serves \(configuration.maxConcurrentRequests) requests already; try again later.")
    }
    let body = try await collectBody(request, upTo: configuration.maxPayloadBytes)
    let name = HTTPField.Name("X-SMG-Routing-Key").flatMap { request.headers[$0] }
    let looksAtPrompt = configuration.policy == .cacheAware || configuration.policy == .consistentHashing && name == nil
    let json = looksAtPrompt ? try? JSONValue(parsing: String(buffer: body)) : nil
    let target = request.uri.path + (request.uri.query.map { "?" + $0 } ?? "")
    let key = RoutingKey(name: name, body: json)
    let work = Task { try await attempts(request.method.rawValue, target, request.headers, body, key) }
    let watch = connections.watch(context.channel) { work.cancel() }
    defer { withExtendedLifetime((watch, place)) {} }
    let answer: WorkerAnswer
    do {
      answer = try await endingAfterShutdown(configuration.drainTimeout, { try await work.value }, end: work.cancel)
    } catch let error as StatusError {
      throw error
    } catch {
      if !(error is HTTPClientError) || work.isCancelled { counts.disconnects.add(1, ordering: .relaxed) }
      throw error is HTTPClientError && !work.isCancelled ? Self.status(of: error) : ClientGone()
    }
    switch answer {
    case .whole(let status, let headers, let body):
      return Response(
        status: HTTPResponse.Status(code: status), headers: Self.answerHeaders(headers), body: ResponseBody(byteBuffer: body))
    case .events(let events):
      return Response(
        status: HTTPResponse.Status(code: events.response.status), headers: Self.answerHeaders(events.response.headers),
        body: ResponseBody { writer in
          let watch = connections.watch(context.channel) { events.leave() }
          defer { withExtendedLifetime((watch, place)) {} }
          try await endingAfterShutdown(
            configuration.drainTimeout, { try await pass(events, to: &writer) }, end: { events.response.cancel() })
        })
    }
  }

  /// Runs `operation`; when the router is told to stop, calls `end` after a while.
  private func endingAfterShutdown<R>(
    _ limit: Duration, _ operation: () async throws -> R, end: @escaping @Sendable () -> Void
  ) async throws -> R {
    try await withGracefulShutdownHandler(operation: operation) {
      Task {
        try await Task.sleep(for: limit)
        end()
      }
    }
  }

  // MARK: Attempts

  /// Asks one worker after the other until one answers.
  private func attempts(
    _ method: String, _ target: String, _ headers: HTTPFields, _ body: ByteBuffer, _ key: RoutingKey
  ) async throws -> WorkerAnswer {
    let deadline = ContinuousClock.now + configuration.requestTimeout
    var tried: Set<String> = []
    var refusal: WorkerAnswer?
    var problem: any Error = StatusError(status: .serviceUnavailable, message: "No worker is available; add one with POST /workers.")
    for number in 0...configuration.maxRetries {
      if number > 0 {
        try await Task.sleep(for: min(configuration.backoff(number), deadline - .now))
        counts.retries.add(1, ordering: .relaxed)
      }
      guard deadline > .now, let lease = pool.acquire(key, tried: tried) else { continue }
      tried.insert(lease.worker.id)
      do {
        let answer = try await ask(
          lease, request(method, lease.worker.url, target, headers, body: body, timeout: deadline - .now))
        guard Self.retryable.contains(answer.status) else { return answer }
        lease.end(.failed)
        refusal = answer
      } catch let error as HTTPClientError {
        if Task.isCancelled { throw error }
        if case .cannotConnect = error { pool.note(lease.worker.id, isHealthy: false) }
        lease.end(.failed)
        (problem, refusal) = (error, nil)
        if case .timedOut = error { throw error }
        if case .tooLarge = error { throw error }
      }
    }
    // The worker's own words, if it had any.
    if let refusal { return refusal }
    throw problem
  }

  /// A worker's answer: the whole of it, or of a stream of events its beginning. Before that nothing has been told to the
  /// client, so another worker can be asked instead.
  private func ask(_ lease: WorkerLease, _ request: HTTPClientRequest) async throws -> WorkerAnswer {
    let response = try await client.send(request)
    if response.header("Content-Type")?.hasPrefix("text/event-stream") == true, response.status == 200 {
      let events = WorkerEvents(response, lease)
      try await events.begin()
      return .events(events)
    }
    let body = try await response.collect(upTo: configuration.maxAnswerBytes)
    if !Self.retryable.contains(response.status) { lease.end(response.status < 500 ? .succeeded : .failed) }
    return .whole(status: response.status, headers: response.headers, body: body)
  }

  private static func status(of error: any Error) -> StatusError {
    if case HTTPClientError.timedOut = error { return StatusError(status: .gatewayTimeout, message: "\(error)") }
    return StatusError(status: .badGateway, message: "\(error)")
  }

  // MARK: Streams

  /// Passes a worker's events on as they come. A worker that fails in the middle is told of in a last event.
  private func pass(_ events: WorkerEvents, to writer: inout any ResponseBodyWriter) async throws {
    var buffer = EventBuffer()
    while true {
      let part: ByteBuffer?
      do {
        part = try await events.next()
      } catch {
        if events.hasLeft {
          counts.disconnects.add(1, ordering: .relaxed)
          throw ClientGone()
        }
        events.lease.end(.failed)
        counts.brokenStreams.add(1, ordering: .relaxed)
        let status = Self.status(of: error)
        let event: JSONValue = [
          "error": [
            "message": .string("The worker failed in the middle of its answer: \(status.message)"),
            "type": .string(status.status.reasonPhrase), "code": .int(status.status.code), "retryable": true,
          ]
        ]
        try await writer.write(ByteBuffer(string: "data: \(event.text())\n\ndata: [DONE]\n\n"))
        return try await writer.finish(nil)
      }
      let whole = part.map { buffer.append($0) } ?? buffer.finish()
      if whole.readableBytes > 0 { try await writer.write(whole) }
      if part == nil { break }
    }
    events.lease.end(.succeeded)
    try await writer.finish(nil)
  }
}

/// What a worker answers.
private enum WorkerAnswer: Sendable {
  case whole(status: Int, headers: [(name: String, value: String)], body: ByteBuffer)
  case events(WorkerEvents)

  var status: Int {
    switch self {
    case .whole(let status, _, _): status
    case .events(let events): events.response.status
    }
  }
}
