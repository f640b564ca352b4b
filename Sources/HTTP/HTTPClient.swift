import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A client of HTTP/1.1 servers: keeps connections open for the next request, streams bodies with back-pressure, and gives
/// every request a deadline.
///
/// There is no limit to the requests at a time; whoever needs one sets it above.
public final class HTTPClient: Sendable {
  public struct Configuration: Sendable {
    public var connectTimeout: Duration = .seconds(5)
    /// Kept open for a server, at most, and how long. Servers close idle connections too, and a request that meets such a
    /// close fails.
    public var idleConnectionsPerServer = 256
    public var idleTimeout: Duration = .seconds(30)

    public init() {}
  }

  private struct Idle {
    var channel: any Channel
    var since: ContinuousClock.Instant
  }

  private let configuration: Configuration
  private let group: any EventLoopGroup
  /// The most recently used last.
  private let idle = Mutex<[HTTPAddress: [Idle]]>([:])

  public init(configuration: Configuration = Configuration()) {
    self.configuration = configuration
    group = MultiThreadedEventLoopGroup.singleton
  }

  deinit {
    idle.withLock { $0.values.joined().forEach { $0.channel.close(promise: nil) } }
  }

  /// Connections that wait for a request.
  package var idleConnections: Int { idle.withLock { $0.values.reduce(0) { $0 + $1.count } } }

  /// Sends a request and waits for the head of the answer. Cancelling the task closes the connection.
  /// - Throws: `HTTPClientError`.
  public func send(_ request: HTTPClientRequest) async throws -> HTTPClientResponse {
    let (address, target) = try HTTPAddress.parse(request.url)
    if let channel = takeIdle(address) {
      do {
        return try await send(request, target, address, on: channel)
      } catch HTTPClientError.closed(_, beganAnswer: false) where request.isReplayable {
        // The server had closed it meanwhile.
      }
    }
    return try await send(request, target, address, on: try await connect(address))
  }

  /// The whole answer.
  public func collect(_ request: HTTPClientRequest, upTo limit: Int) async throws -> (status: Int, body: ByteBuffer) {
    let response = try await send(request)
    return (response.status, try await response.collect(upTo: limit))
  }

  private func send(
    _ request: HTTPClientRequest, _ target: String, _ address: HTTPAddress, on channel: any Channel
  ) async throws -> HTTPClientResponse {
    var headers = HTTPHeaders([("Host", "\(address)")])
    for (name, value) in request.headers { headers.add(name: name, value: value) }
    if request.body.readableBytes > 0 || ["POST", "PUT", "PATCH"].contains(request.method) {
      headers.replaceOrAdd(name: "Content-Length", value: String(request.body.readableBytes))
    }
    let exchange = HTTPExchange(channel)
    let answer = channel.eventLoop.makePromise(of: HTTPClientResponse.self)
    let start = HTTPConnectionHandler.Start(
      head: HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: request.method), uri: target, headers: headers),
      body: request.body, timeout: request.timeout, exchange: exchange, answer: answer)
    return try await withTaskCancellationHandler {
      channel.write(start).whenFailure { _ in answer.fail(HTTPClientError.closed("\(address)", beganAnswer: false)) }
      return try await answer.futureResult.get()
    } onCancel: {
      exchange.cancel()
    }
  }

  private func connect(_ address: HTTPAddress) async throws -> any Channel {
    let bootstrap = ClientBootstrap(group: group)
      .connectTimeout(.nanoseconds(Int64(configuration.connectTimeout.seconds * 1e9)))
      .channelOption(.socketOption(.tcp_nodelay), value: 1)
      .channelOption(.socketOption(.so_keepalive), value: 1)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHTTPClientHandlers()
          try channel.pipeline.syncOperations.addHandler(
            HTTPConnectionHandler(server: "\(address)") { [weak self] channel in
              if let self { self.keep(channel, address) } else { channel.close(promise: nil) }
            })
        }
      }
    do {
      return try await bootstrap.connect(host: address.host, port: address.port).get()
    } catch {
      throw HTTPClientError.cannotConnect("\(address)", reason: "\(error)")
    }
  }

  // MARK: Idle connections

  private func takeIdle(_ address: HTTPAddress) -> (any Channel)? {
    idle.withLock { idle in
      let oldest = ContinuousClock.now - configuration.idleTimeout
      while let last = idle[address]?.popLast() {
        if last.since >= oldest, last.channel.isActive { return last.channel }
        last.channel.close(promise: nil)
      }
      idle[address] = nil
      return nil
    }
  }

  private func keep(_ channel: any Channel, _ address: HTTPAddress) {
    let superfluous: [any Channel] = idle.withLock { idle in
      let oldest = ContinuousClock.now - configuration.idleTimeout
      var kept = idle[address, default: []]
      var closed: [any Channel] = []
      // Those that wait longest come first.
      while let first = kept.first, first.since < oldest || kept.count >= configuration.idleConnectionsPerServer {
        closed.append(first.channel)
        kept.removeFirst()
      }
      kept.append(Idle(channel: channel, since: .now))
      idle[address] = kept
      return closed
    }
    for channel in superfluous { channel.close(promise: nil) }
  }
}
