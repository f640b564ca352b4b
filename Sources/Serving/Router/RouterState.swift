import Foundation
import HTTP
import HTTPTypes
import Hummingbird
import Inference
import JSON
import NIOCore
import Synchronization

/// What the handlers of a router share.
struct RouterState: Sendable {
  let configuration: RouterConfiguration
  let pool: WorkerPool
  let client: HTTPClient
  let connections = Connections()
  let http = HTTPMetrics()
  let counts = RouterCounts()

  init(_ configuration: RouterConfiguration) {
    self.configuration = configuration
    pool = WorkerPool(configuration)
    var client = HTTPClient.Configuration()
    client.connectTimeout = configuration.connectTimeout
    client.idleConnectionsPerServer = 1024
    self.client = HTTPClient(configuration: client)
  }

  func router() -> Router<ServingContext> {
    let router = Router(context: ServingContext.self)
    router.add(middleware: HTTPMetricsMiddleware(metrics: http))
    router.add(middleware: ErrorMiddleware())
    router.add(middleware: AuthenticationMiddleware(apiKey: configuration.apiKey, adminKey: configuration.adminAPIKey))
    addForwardingRoutes(to: router)
    addWorkerRoutes(to: router)
    addFanOutRoutes(to: router)
    addRouterInfoRoutes(to: router)
    return router
  }

  /// A request to a worker, with the client's headers as far as they are for it.
  func request(
    _ method: String, _ worker: String, _ target: String, _ headers: HTTPFields = [:], body: ByteBuffer = ByteBuffer(),
    timeout: Duration
  ) -> HTTPClientRequest {
    var passed = headers.filter { !Self.ownToAHop.contains($0.name.canonicalName) }.map { ($0.name.rawName, $0.value) }
    if let key = configuration.workerAPIKey {
      passed.removeAll { $0.0.lowercased() == "authorization" }
      passed.append(("Authorization", "Bearer \(key)"))
    }
    return HTTPClientRequest(
      method, worker + target, headers: passed.map { (name: $0.0, value: $0.1) }, body: body, timeout: timeout)
  }

  /// Headers that are about a connection and not about the message.
  static let ownToAHop: Set<String> = [
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
    "transfer-encoding", "upgrade", "host", "content-length", "expect",
  ]

  /// The headers of a worker's answer for the client.
  static func answerHeaders(_ headers: [(name: String, value: String)]) -> HTTPFields {
    var fields = HTTPFields()
    for (name, value) in headers where !ownToAHop.contains(name.lowercased()) {
      if let name = HTTPField.Name(name) { fields.append(HTTPField(name: name, value: value)) }
    }
    return fields
  }
}

/// Numbers about a router's requests.
final class RouterCounts: Sendable {
  let active = Atomic(0)
  let retries = Atomic(0)
  let brokenStreams = Atomic(0)
  let disconnects = Atomic(0)

  /// A place among the requests that may run at a time, given back when released.
  final class Place: Sendable {
    private let counts: RouterCounts
    fileprivate init(_ counts: RouterCounts) { self.counts = counts }
    deinit { counts.active.subtract(1, ordering: .relaxed) }
  }

  /// - Returns: nil when `limit` requests run already.
  func enter(limit: Int) -> Place? {
    let place = Place(self)
    return active.add(1, ordering: .relaxed).newValue <= limit ? place : nil
  }
}
