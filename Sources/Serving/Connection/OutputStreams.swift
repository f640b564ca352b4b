import Hummingbird
import Inference
import JSON
import ServiceLifecycle

/// Writes the updates of some requests as the events of a stream.
protocol EventWriter: Sendable {
  /// The JSON texts that an update of request `index` becomes, possibly none.
  mutating func events(_ index: Int, _ output: GenerateOutput) -> [[UInt8]]
  /// Those that follow the last update.
  mutating func closing() -> [[UInt8]]
}

extension ServerState {
  /// The finished outputs of requests, in their order. When one fails, or the client goes away, the others end.
  func outputs(of requests: [GenerateRequest], _ scope: RequestScope) async throws -> [GenerateOutput] {
    try await abortingOnShutdown(requests, scope) {
      try await withThrowingTaskGroup(of: (Int, GenerateOutput)?.self) { group in
        for (i, request) in requests.enumerated() {
          group.addTask {
            let span = profiler.began()
            do {
              let output = try await engine.generate(request)
              metrics.finished(output, timesTokens: true)
              profiler.ended(span, request, output)
              return (i, output)
            } catch {
              metrics.failed()
              profiler.ended(span, request, nil)
              throw error
            }
          }
        }
        group.addTask {
          await scope.clientLeaves()
          return nil
        }
        var outputs: [Int: GenerateOutput] = [:]
        while outputs.count < requests.count {
          guard let (i, output) = try await group.next()! else { throw ClientGone() }
          outputs[i] = output
        }
        group.cancelAll()
        return requests.indices.map { outputs[$0]! }
      }
    }
  }

  /// A response of server-sent events with the updates of requests as they come.
  /// - Parameter scope: lives as long as the response is written.
  func eventStream(_ requests: [GenerateRequest], _ writer: some EventWriter, _ scope: RequestScope) -> Response {
    let body = ResponseBody { body in
      var writer = writer
      try await write(requests, &writer, scope, to: &body)
    }
    let headers: HTTPFields = [.contentType: "text/event-stream; charset=utf-8", .cacheControl: "no-cache"]
    return Response(status: .ok, headers: headers, body: body)
  }

  private func write(
    _ requests: [GenerateRequest], _ writer: inout some EventWriter, _ scope: RequestScope,
    to body: inout any ResponseBodyWriter
  ) async throws {
    do {
      try await abortingOnShutdown(requests, scope) {
        var clock = StreamClock(requests, metrics, profiler)
        defer { clock.end() }
        try await forEachUpdate(of: requests.map(engine.stream), scope) { index, output in
          clock.note(index, output)
          for event in writer.events(index, output) { try await body.write(event: event) }
        }
      }
      // Before the client knows that this is the end: it may use the ids again at once.
      scope.end()
      for event in writer.closing() { try await body.write(event: event) }
    } catch {
      let (status, message) = ErrorMiddleware.describe(error)
      let event: JSONValue = [
        "error": [
          "message": .string(message), "type": .string(status.reasonPhrase), "code": .int(status.code),
          "retryable": .bool(status.code >= 500),
        ]
      ]
      try await body.write(event: event.bytes())
    }
    try await body.write(event: Array("[DONE]".utf8))
    try await body.finish(nil)
  }

  /// Runs `operation`; when the server is told to stop, aborts the requests after a while, so that stopping waits for no long
  /// response.
  private func abortingOnShutdown<R>(
    _ requests: [GenerateRequest], _ scope: RequestScope, _ operation: () async throws -> R
  ) async throws -> R {
    try await withGracefulShutdownHandler(operation: operation) {
      Task { [weak scope, limit = configuration.drainTimeout] in
        try await Task.sleep(for: limit)
        // Again until they have ended: one may be on its way to the engine still.
        while scope != nil {
          for request in requests { await engine.abort(request.id) }
          try await Task.sleep(for: .milliseconds(50))
        }
      }
    }
  }
}

/// Measures the streams of some requests.
private struct StreamClock {
  private let metrics: ServerMetrics
  private let profiler: Profiler
  private let requests: [GenerateRequest]
  private let spans: [Profiler.Span?]
  /// When each had which number of tokens; nil once it has ended.
  private var last: [(time: ContinuousClock.Instant, tokens: Int)?]

  init(_ requests: [GenerateRequest], _ metrics: ServerMetrics, _ profiler: Profiler) {
    (self.requests, self.metrics, self.profiler) = (requests, metrics, profiler)
    spans = requests.map { _ in profiler.began() }
    last = Array(repeating: (.now, 0), count: requests.count)
  }

  mutating func note(_ index: Int, _ output: GenerateOutput) {
    guard let (time, tokens) = last[index] else { return }
    let (now, count) = (ContinuousClock.now, output.outputTokens.count)
    if tokens > 0, count > tokens { metrics.tokens(count - tokens, after: now - time) }
    if count > tokens { last[index] = (now, count) }
    guard output.finishReason != nil else { return }
    metrics.finished(output, timesTokens: false)
    profiler.ended(spans[index], requests[index], output)
    last[index] = nil
  }

  /// Those that have not ended yet never will.
  mutating func end() {
    for index in last.indices where last[index] != nil {
      metrics.failed()
      profiler.ended(spans[index], requests[index], nil)
      last[index] = nil
    }
  }
}

extension ResponseBodyWriter {
  fileprivate mutating func write(event: [UInt8]) async throws {
    var buffer = ByteBuffer()
    buffer.reserveCapacity(event.count + 8)
    buffer.writeStaticString("data: ")
    buffer.writeBytes(event)
    buffer.writeStaticString("\n\n")
    try await write(buffer)
  }
}

/// Calls `body` with the updates of all streams, as they come, one at a time. The next update of a stream is asked for when
/// its last one is dealt with. An error, of a stream or of `body`, or a client that goes away ends all streams.
private func forEachUpdate(
  of streams: [AsyncThrowingStream<GenerateOutput, any Error>], _ scope: RequestScope,
  _ body: (Int, GenerateOutput) async throws -> Void
) async throws {
  try await withThrowingTaskGroup(of: (Int, GenerateOutput?).self) { group in
    func askNext(_ index: Int) {
      group.addTask {
        var iterator = streams[index].makeAsyncIterator()
        return (index, try await iterator.next())
      }
    }
    group.addTask {
      await scope.clientLeaves()
      throw ClientGone()
    }
    for index in streams.indices { askNext(index) }
    var open = streams.count
    while open > 0, let (index, output) = try await group.next() {
      if let output {
        try await body(index, output)
        askNext(index)
      } else {
        open -= 1
      }
    }
    group.cancelAll()
  }
}
