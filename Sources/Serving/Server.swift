import Hummingbird
import Inference
import Logging
import NIOCore
import ServiceLifecycle

/// Serves an engine over HTTP as SGLang does: `/generate`, the OpenAI routes, and control routes.
public struct Server: Sendable {
  private let state: ServerState

  /// - Parameter tokenizer: nil serves token ids only.
  public init(
    engine: any GenerationEngine, tokenizer: (any PromptEncoder)?, configuration: ServerConfiguration = ServerConfiguration()
  ) {
    state = ServerState(engine: engine, encoder: tokenizer, configuration: configuration)
  }

  /// Serves until SIGTERM or SIGINT: then new connections are refused, running requests are aborted, and their partial
  /// outputs are still sent.
  /// - Parameter onReady: called with the port once the server listens.
  /// - Throws: when the address cannot be listened on.
  public func run(onReady: @escaping @Sendable (Int) async -> Void = { _ in }) async throws {
    try await application(onReady: onReady).runService(gracefulShutdownSignals: [.sigterm, .sigint])
  }

  /// Serves on the configured address while `body` runs with the port: for tests, and for servers inside another program.
  public func whileRunning<R: Sendable>(_ body: @escaping @Sendable (Int) async throws -> R) async throws -> R {
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

  private func application(onReady: @escaping @Sendable (Int) async -> Void = { _ in }) -> some ApplicationProtocol {
    var logger = Logger(label: "slime.serving")
    logger.logLevel = .warning
    let connections = state.connections
    return Application(
      router: state.router(),
      server: .http1(configuration: .init(additionalChannelHandlers: [Connections.Handler(connections)])),
      configuration: ApplicationConfiguration(
        address: .hostname(state.configuration.host, port: state.configuration.port), serverName: nil, backlog: 1024),
      onServerRunning: { await onReady($0.localAddress?.port ?? 0) },
      logger: logger)
  }
}
