import Inference

/// Serves an engine over HTTP as SGLang does: `/generate`, the OpenAI routes, and control routes.
public struct Server: Sendable {
  private let service: HTTPService

  /// - Parameter tokenizer: nil serves token ids only.
  public init(
    engine: any GenerationEngine, tokenizer: (any PromptEncoder)?, configuration: ServerConfiguration = ServerConfiguration()
  ) {
    let state = ServerState(engine: engine, encoder: tokenizer, configuration: configuration)
    service = HTTPService(
      host: configuration.host, port: configuration.port, connections: state.connections, router: state.router)
  }

  /// Serves until SIGTERM or SIGINT: then new connections are refused, running requests may go on for
  /// `ServerConfiguration.drainTimeout` and are then aborted, and their partial outputs are still sent.
  /// - Parameter onReady: called with the port once the server listens.
  /// - Throws: when the address cannot be listened on.
  public func run(onReady: @escaping @Sendable (Int) async -> Void = { _ in }) async throws {
    try await service.run(onReady: onReady)
  }

  /// Serves on the configured address while `body` runs with the port: for tests, and for servers inside another program.
  public func whileRunning<R: Sendable>(_ body: @escaping @Sendable (Int) async throws -> R) async throws -> R {
    try await service.whileRunning(body)
  }
}
