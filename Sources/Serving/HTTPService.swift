import Hummingbird
import Inference
import Logging
import NIOCore
import ServiceLifecycle

/// Routes on an address, until told to stop.
struct HTTPService: Sendable {
  let host: String
  let port: Int
  let connections: Connections
  let router: @Sendable () -> Router<ServingContext>

  /// Serves until SIGTERM or SIGINT: then new connections are refused, and running requests end by themselves.
  /// - Throws: when the address cannot be listened on.
  func run(onReady: @escaping @Sendable (Int) async -> Void) async throws {
    try await application(onReady: onReady).runService(gracefulShutdownSignals: [.sigterm, .sigint])
  }

  /// Serves while `body` runs with the port.
  func whileRunning<R: Sendable>(_ body: @escaping @Sendable (Int) async throws -> R) async throws -> R {
    let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
    let application = application { continuation.yield($0) }
    let services = ServiceGroup(
      configuration: .init(services: [application], gracefulShutdownSignals: [], logger: application.logger))
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { continuation.finish() }
        try await services.run()
      }
      guard let port = await ports.first(where: { _ in true }) else {
        try await group.waitForAll()
        throw CancellationError()
      }
      do {
        let result = try await body(port)
        await services.triggerGracefulShutdown()
        try await group.waitForAll()
        return result
      } catch {
        await services.triggerGracefulShutdown()
        throw error
      }
    }
  }

  private func application(onReady: @escaping @Sendable (Int) async -> Void) -> some ApplicationProtocol {
    var logger = Logger(label: "slime.serving")
    logger.logLevel = .warning
    let connections = connections
    return Application(
      router: router(),
      server: .http1(configuration: .init(additionalChannelHandlers: [Connections.Handler(connections)])),
      configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil, backlog: 1024),
      onServerRunning: { await onReady($0.localAddress?.port ?? 0) },
      logger: logger)
  }
}

/// The body of a request.
/// - Throws: 413 when it is larger than `limit`.
func collectBody(_ request: Request, upTo limit: Int) async throws -> ByteBuffer {
  let tooLarge = StatusError(
    status: .contentTooLarge, message: "The request body is larger than \(limit) bytes; send fewer prompts at a time.")
  // One that says so is refused before it is sent.
  if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge }
  var request = request
  do {
    return try await request.collectBody(upTo: limit)
  } catch is NIOTooManyBytesError {
    throw tooLarge
  } catch let error as HTTPError {
    throw error
  } catch {
    throw InvalidRequest("The request body ends early: \(error).")
  }
}
