import Foundation

/// Talks plain HTTP/1.1 to one server, one request at a time over a connection that is kept, on a thread of its own.
public final class HTTPClient: Sendable {
  public let address: String
  let host: String
  private let thread: WorkThread<HTTPConnection>

  /// - Parameter address: `http://host:port`.
  public init(_ address: String) throws {
    guard let parts = URLComponents(string: address), parts.scheme == "http", let host = parts.host,
      let port = parts.port, parts.path.isEmpty || parts.path == "/"
    else { throw WeightSyncError("'\(address)' is not the address of a server; write http://HOST:PORT") }
    (self.address, self.host) = (address, host)
    thread = WorkThread("http \(host):\(port)") { HTTPConnection(host: host, port: port) }
  }

  /// - Parameter timeout: for all of the request.
  public func send(
    _ method: String, _ path: String, _ body: Data = Data(), timeout: Duration
  ) async throws -> (status: Int, body: Data) {
    try await thread.run { [address] connection in
      do {
        return try connection.exchange(method, path, body, deadline: .now + timeout)
      } catch let error as WeightSyncError {
        throw WeightSyncError("\(method) \(address)\(path) failed: \(error.description)")
      }
    }
  }
}

/// A socket with the deadlines of what is done over it.
final class HTTPConnection {
  private static let headLimit = 1 << 16

  private let host: String
  private let port: Int
  private var socket: Int32 = -1
  private var received = Data()

  init(host: String, port: Int) { (self.host, self.port) = (host, port) }

  deinit { disconnect() }

  private func disconnect() {
    if socket >= 0 { close(socket) }
    (socket, received) = (-1, Data())
  }

  func exchange(
    _ method: String, _ path: String, _ body: Data, deadline: ContinuousClock.Instant
  ) throws -> (status: Int, body: Data) {
    let head = "\(method) \(path) HTTP/1.1\r\nHost: \(host):\(port)\r\nContent-Type: application/json\r\nContent-Length: \(body.count)\r\n\r\n"
    let isReused = socket >= 0
    do {
      if !isReused { try connect(deadline) }
      try write(Data(head.utf8) + body, deadline)
      _ = try peek(1, deadline)
    } catch is PeerClosed where isReused {
      // A server may close a connection that nobody used for a while.
      disconnect()
      return try exchange(method, path, body, deadline: deadline)
    } catch {
      disconnect()
      throw error is PeerClosed ? WeightSyncError("the server closed the connection") : error
    }
    do {
      return try readAnswer(deadline)
    } catch {
      disconnect()
      throw error is PeerClosed ? WeightSyncError("the server closed the connection within its answer") : error
    }
  }

  private struct PeerClosed: Error {}

  private func systemError(_ what: String) -> WeightSyncError { WeightSyncError("\(what): \(String(cString: strerror(errno)))") }

  private func wait(_ events: Int32, _ deadline: ContinuousClock.Instant) throws {
    var entry = pollfd(fd: socket, events: Int16(events), revents: 0)
    let left = max(0, (deadline - .now) / .milliseconds(1))
    guard poll(&entry, 1, Int32(min(left.rounded(.up), 1e9))) > 0 else { throw WeightSyncError("there was no answer in time") }
  }

  private func connect(_ deadline: ContinuousClock.Instant) throws {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var results: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, String(port), &hints, &results) == 0 else { throw WeightSyncError("the host '\(host)' is unknown") }
    defer { freeaddrinfo(results) }
    var failure = WeightSyncError("the host '\(host)' has no address")
    var next = results
    while let address = next?.pointee {
      next = address.ai_next
      socket = Foundation.socket(
        address.ai_family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
      guard socket >= 0 else { throw systemError("a socket cannot be made") }
      if Foundation.connect(socket, address.ai_addr, address.ai_addrlen) != 0, errno == EINPROGRESS {
        try wait(Int32(POLLOUT), deadline)
      }
      var code: Int32 = 0
      var length = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(socket, SOL_SOCKET, SO_ERROR, &code, &length)
      var peer = sockaddr_storage()
      var peerLength = socklen_t(MemoryLayout<sockaddr_storage>.size)
      let isConnected = withUnsafeMutablePointer(to: &peer) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(socket, $0, &peerLength) }
      } == 0
      if code == 0, isConnected { return }
      if code != 0 { errno = code }
      failure = systemError("the server cannot be reached")
      disconnect()
    }
    throw failure
  }

  private func write(_ data: Data, _ deadline: ContinuousClock.Instant) throws {
    try data.withUnsafeBytes { bytes in
      var sent = 0
      while sent < bytes.count {
        let count = Foundation.send(socket, bytes.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
        if count > 0 {
          sent += count
        } else if count < 0, errno == EAGAIN {
          try wait(Int32(POLLOUT), deadline)
        } else if count < 0, errno == EINTR {
          continue
        } else {
          throw PeerClosed()
        }
      }
    }
  }

  /// Receives until so many bytes are there; does not take them.
  private func peek(_ count: Int, _ deadline: ContinuousClock.Instant) throws -> Data {
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while received.count < count {
      let got = recv(socket, &chunk, chunk.count, 0)
      if got > 0 {
        received.append(contentsOf: chunk[..<got])
      } else if got < 0, errno == EAGAIN {
        try wait(Int32(POLLIN), deadline)
      } else if got < 0, errno == EINTR {
        continue
      } else {
        throw PeerClosed()
      }
    }
    return received
  }

  private func take(_ count: Int, _ deadline: ContinuousClock.Instant) throws -> Data {
    let data = try peek(count, deadline).prefix(count)
    received = Data(received.dropFirst(count))
    return Data(data)
  }

  private func line(_ deadline: ContinuousClock.Instant) throws -> String {
    while true {
      if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
        let line = try take(end - received.startIndex + 1, deadline)
        return String(decoding: line, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
      }
      guard received.count < Self.headLimit else { throw WeightSyncError("the server's answer has a line without end") }
      _ = try peek(received.count + 1, deadline)
    }
  }

  private func readAnswer(_ deadline: ContinuousClock.Instant) throws -> (status: Int, body: Data) {
    let first = try line(deadline).split(separator: " ")
    guard first.count >= 2, first[0].hasPrefix("HTTP/1."), let status = Int(first[1]) else {
      throw WeightSyncError("the server does not speak HTTP")
    }
    var fields: [String: String] = [:]
    while case let field = try line(deadline), !field.isEmpty {
      guard let colon = field.firstIndex(of: ":"), fields.count < 200 else {
        throw WeightSyncError("the server's answer has a malformed head")
      }
      fields[field[..<colon].lowercased()] = field[field.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    var body = Data()
    if fields["transfer-encoding"]?.lowercased() == "chunked" {
      while true {
        let size = try line(deadline).split(separator: ";").first.flatMap { Int($0, radix: 16) }
        guard let size, (0..<1 << 40).contains(size) else { throw WeightSyncError("the server's answer has a malformed chunk") }
        if size == 0 { break }
        body += try take(size, deadline)
        _ = try line(deadline)
      }
      while try !line(deadline).isEmpty {}
    } else {
      guard let length = Int(fields["content-length"] ?? "0"), length >= 0 else {
        throw WeightSyncError("the server's answer has a malformed length")
      }
      body = try take(length, deadline)
    }
    if fields["connection"]?.lowercased() == "close" { disconnect() }
    return (status, body)
  }
}
