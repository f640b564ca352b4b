/// One address in front of several engines' servers, ours or SGLang's.
public struct RouterServer: Sendable {
  private let state: RouterState
  private let service: HTTPService

  public init(configuration: RouterConfiguration) {
    let state = RouterState(configuration)
    self.state = state
    service = HTTPService(
      host: configuration.host, port: configuration.port, connections: state.connections, router: state.router)
  }

  /// Routes until SIGTERM or SIGINT: then new connections are refused, and running requests may go on for
  /// `RouterConfiguration.drainTimeout`.
  /// - Parameters:
  ///   - report: told of workers of the configuration that did not come up.
  ///   - onReady: called with the port once the router listens.
  /// - Throws: when the address cannot be listened on.
  public func run(
    report: @escaping @Sendable (String) -> Void = { _ in }, onReady: @escaping @Sendable (Int) async -> Void = { _ in }
  ) async throws {
    let care = Task { await state.lookAfterWorkers(report: report) }
    defer { care.cancel() }
    try await service.run(onReady: onReady)
  }

  /// Routes on the configured address while `body` runs with the port.
  public func whileRunning<R: Sendable>(_ body: @escaping @Sendable (Int) async throws -> R) async throws -> R {
    let care = Task { await state.lookAfterWorkers { _ in } }
    defer { care.cancel() }
    return try await service.whileRunning(body)
  }
}
