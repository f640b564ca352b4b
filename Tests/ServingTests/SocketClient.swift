import Foundation
import Glibc

/// A client of HTTP/1.1 on a plain socket, which may say anything and leave at any time. Its calls block, one at a time.
final class SocketClient: @unchecked Sendable {
  struct Broken: Error, CustomStringConvertible { let description: String }

  struct Answer {
    var status: Int
    var contentType: String?
    var body: [UInt8]
    var text: String { String(decoding: body, as: UTF8.self) }
  }

  private let descriptor: Int32
  private var isOpen = true
  private var buffer: [UInt8] = []

  init(port: Int) throws {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Broken(description: "no socket: \(String(cString: strerror(errno)))") }
    var patience = timeval(tv_sec: 30, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard connected == 0 else { throw Broken(description: "not connected: \(String(cString: strerror(errno)))") }
  }

  deinit { close() }

  /// - Parameter reset: with an RST, as a process that crashes with unread data does.
  func close(reset: Bool = false) {
    guard isOpen else { return }
    isOpen = false
    if reset {
      var setting = linger(l_onoff: 1, l_linger: 0)
      setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &setting, socklen_t(MemoryLayout<linger>.size))
    }
    Glibc.close(descriptor)
  }

  /// False when the server has closed the connection.
  @discardableResult
  func send(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL)) }
      if count <= 0 { return false }
      sent += count
    }
    return true
  }

  func send(_ text: String) { send(Array(text.utf8)) }

  func post(_ path: String, _ body: [UInt8], length: Int? = nil) {
    request("POST", path, headers: "Content-Type: application/json\r\n", body, length: length)
  }

  /// - Parameter headers: each with its line's end.
  func request(_ method: String, _ path: String, headers: String = "", _ body: [UInt8] = [], length: Int? = nil) {
    send("\(method) \(path) HTTP/1.1\r\nHost: x\r\n\(headers)Content-Length: \(length ?? body.count)\r\n\r\n")
    send(body)
  }

  func post(_ path: String, _ body: String) { post(path, Array(body.utf8)) }

  // MARK: Answers

  /// The whole answer; nil when the server closed the connection instead.
  func answer() throws -> Answer? {
    guard let head = try head() else { return nil }
    var answer = Answer(status: head.status, contentType: head.contentType, body: [])
    if head.isChunked {
      while let chunk = try chunk() { answer.body += chunk }
    } else {
      answer.body = try take(head.length)
    }
    return answer
  }

  /// Status and kind of an answer whose body is still to come.
  func head() throws -> (status: Int, contentType: String?, isChunked: Bool, length: Int)? {
    var lines: [String] = []
    while let line = try line() {
      if !line.isEmpty {
        lines.append(line)
        continue
      }
      guard let first = lines.first, let status = first.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
        throw Broken(description: "no status line but \(lines)")
      }
      let headers = lines.dropFirst().map { $0.lowercased() }
      func value(_ name: String) -> String? {
        headers.first { $0.hasPrefix(name + ":") }?.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
      }
      return (
        status, value("content-type"), value("transfer-encoding") == "chunked",
        value("content-length").flatMap { Int($0) } ?? 0
      )
    }
    if lines.isEmpty { return nil }
    throw Broken(description: "the answer ends in its head: \(lines)")
  }

  /// The next chunk of a chunked body; nil after the last.
  func chunk() throws -> [UInt8]? {
    guard let size = try line().flatMap({ Int($0, radix: 16) }) else { throw Broken(description: "no chunk") }
    let bytes = try take(size)
    _ = try take(2)
    return size == 0 ? nil : bytes
  }

  private func line() throws -> String? {
    while true {
      if let end = buffer.firstIndex(of: 10) {
        defer { buffer.removeFirst(end + 1) }
        return String(decoding: buffer[..<end].filter { $0 != 13 }, as: UTF8.self)
      }
      if try !receive() { return nil }
    }
  }

  private func take(_ count: Int) throws -> [UInt8] {
    while buffer.count < count {
      if try !receive() { throw Broken(description: "the connection ends \(count - buffer.count) bytes early") }
    }
    defer { buffer.removeFirst(count) }
    return Array(buffer[..<count])
  }

  private func receive() throws -> Bool {
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = recv(descriptor, &bytes, bytes.count, 0)
    if count < 0, errno == EAGAIN { throw Broken(description: "no answer for 30 s") }
    if count > 0 { buffer += bytes[..<count] }
    return count > 0
  }
}

/// Runs blocking work on a thread of its own.
func onThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
  try await withCheckedThrowingContinuation { continuation in
    Thread { continuation.resume(with: Result(catching: body)) }.start()
  }
}
