/// What travels between two processes: a kind, the call that it belongs to, and two byte strings.
package struct Frame: Equatable, Sendable {
  package enum Kind: UInt8, Sendable, CaseIterable {
    /// head: encoded `CallHead`; body: the arguments.
    case call = 1
    /// body: the encoded result.
    case value
    /// head: encoded `CallFailure`.
    case failure
    /// The caller does not wait any more.
    case cancel
    /// Worker → driver, once. head: encoded names of its actors.
    case ready
    /// Worker → driver, instead of `ready`. head: encoded `CallFailure`.
    case unable
    case ping
    case pong
    /// Driver → worker: end in order.
    case shutdown
  }

  package var kind: Kind
  package var id: UInt64
  package var head: [UInt8]
  package var body: [UInt8]

  package init(kind: Kind, id: UInt64 = 0, head: [UInt8] = [], body: [UInt8] = []) {
    (self.kind, self.id, self.head, self.body) = (kind, id, head, body)
  }
}

/// The head of a call frame.
struct CallHead: Codable {
  var process: ProcessName
  var actor: String
  var method: String
}

/// The 17 bytes before a frame's head and body: kind, id, head length, body length; integers in little endian.
struct FrameHeader: Equatable {
  static let size = 17
  /// Bounds what a damaged header can make the reader allocate.
  static let maximumHead = 1 << 20
  static let maximumBody = 1 << 30

  var kind: Frame.Kind
  var id: UInt64
  var headCount: Int
  var bodyCount: Int

  init(parsing bytes: [UInt8]) throws(FrameError) {
    var reader = BinaryReader(bytes, bytes.indices)
    guard let code = try? reader.byte(), let id = try? reader.fixed(UInt64.self),
      let head = try? reader.fixed(UInt32.self), let body = try? reader.fixed(UInt32.self)
    else { throw FrameError(description: "a frame header of \(bytes.count) bytes") }
    guard let kind = Frame.Kind(rawValue: code) else { throw FrameError(description: "a frame of unknown kind \(code)") }
    guard head <= Self.maximumHead, body <= Self.maximumBody else {
      throw FrameError(description: "a frame that announces \(head) + \(body) bytes")
    }
    (self.kind, self.id, headCount, bodyCount) = (kind, id, Int(head), Int(body))
  }
}

/// What arrived is not a frame.
package struct FrameError: Error, CustomStringConvertible {
  package var description: String
}

extension Frame {
  /// Header and head, which the body follows.
  package var prefix: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(FrameHeader.size + head.count)
    bytes.append(kind.rawValue)
    bytes.append(littleEndian: id)
    bytes.append(littleEndian: UInt32(head.count))
    bytes.append(littleEndian: UInt32(body.count))
    bytes.append(contentsOf: head)
    return bytes
  }
}
