import Foundation
import NIOCore

/// A request of `HTTPClient`.
public struct HTTPClientRequest: Sendable {
  public var method: String
  /// `http://host:port/path?query`.
  public var url: String
  /// In the order they are sent; `Host` and `Content-Length` are added.
  public var headers: [(name: String, value: String)]
  public var body: ByteBuffer
  /// From the start to the last byte of the answer.
  public var timeout: Duration
  /// Sent again once when a connection that was kept open turns out to be closed. By default where HTTP says that asking
  /// twice is asking once.
  public var isReplayable: Bool

  public init(
    _ method: String, _ url: String, headers: [(name: String, value: String)] = [], body: ByteBuffer = ByteBuffer(),
    timeout: Duration = .seconds(60)
  ) {
    (self.method, self.url, self.headers, self.body, self.timeout) = (method, url, headers, body, timeout)
    isReplayable = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"].contains(method)
  }

  /// A request with a body of JSON text.
  public static func json(_ method: String, _ url: String, _ body: some Sequence<UInt8>, timeout: Duration = .seconds(60)) -> Self {
    HTTPClientRequest(
      method, url, headers: [("Content-Type", "application/json")], body: ByteBuffer(bytes: body), timeout: timeout)
  }
}

/// Why a request got no answer, in one sentence.
public enum HTTPClientError: Error, Equatable, CustomStringConvertible {
  case badURL(String)
  case cannotConnect(String, reason: String)
  /// - Parameter beganAnswer: whether bytes of the answer had come.
  case closed(String, beganAnswer: Bool)
  case timedOut(String, after: Duration)
  case tooLarge(String, limit: Int)
  case notHTTP(String, reason: String)
  case cancelled

  public var description: String {
    switch self {
    case .badURL(let url): "\(url) is no URL of the kind http://host:port/path."
    case .cannotConnect(let server, let reason): "\(server) cannot be reached: \(reason)."
    case .closed(let server, let began):
      "\(server) closed the connection \(began ? "in the middle of its answer" : "without an answer")."
    case .timedOut(let server, let limit): "\(server) did not answer within \(limit.seconds) s."
    case .tooLarge(let server, let limit): "\(server) answers with more than \(limit) bytes."
    case .notHTTP(let server, let reason): "\(server) does not answer in HTTP/1.1: \(reason)."
    case .cancelled: "The request was cancelled."
    }
  }
}

/// Where a URL leads.
public struct HTTPAddress: Hashable, Sendable, CustomStringConvertible {
  public var host: String
  public var port: Int

  /// - Parameter server: `http://host:port` or `host:port`.
  public init(server: String) throws(HTTPClientError) {
    let (address, target) = try Self.parse(server.contains("://") ? server : "http://" + server)
    guard target == "/" else { throw .badURL(server) }
    self = address
  }

  init(host: String, port: Int) { (self.host, self.port) = (host, port) }

  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// - Returns: the server and what to ask it for.
  package static func parse(_ url: String) throws(HTTPClientError) -> (address: HTTPAddress, target: String) {
    guard let parts = URLComponents(string: url), parts.scheme?.lowercased() == "http", var host = parts.host, !host.isEmpty,
      (1...65535).contains(parts.port ?? 80)
    else { throw .badURL(url) }
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    let path = parts.percentEncodedPath.isEmpty ? "/" : parts.percentEncodedPath
    return (HTTPAddress(host: host, port: parts.port ?? 80), path + (parts.percentEncodedQuery.map { "?" + $0 } ?? ""))
  }
}

extension Duration {
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
