import Foundation
import Synchronization

/// Calls in both directions, multiplexed over one connection.
package final class SocketTransport: ActorTransport {
  package typealias Completion = @Sendable (Result<ActorReply, any Error>) -> Void

  package let peer: String
  private let connection: FrameConnection
  private let controlPlane: ControlPlane
  private let state = Mutex(State())

  private struct State {
    var waiting: [UInt64: Completion] = [:]
    var running: [UInt64: Task<Void, Never>] = [:]
    /// Why no call can succeed any more.
    var end: (any Error)?
  }

  package init(_ connection: FrameConnection, peer: String, controlPlane: ControlPlane) {
    (self.connection, self.peer, self.controlPlane) = (connection, peer, controlPlane)
  }

  // MARK: - Calls to the peer

  package func start(_ call: ActorCall, completion: @escaping Completion) {
    let end = state.withLock { state in
      if state.end == nil { state.waiting[call.id] = completion }
      return state.end
    }
    if let end { return completion(.failure(end)) }
    do {
      let head = CallHead(process: call.actor.process, actor: call.actor.name, method: call.method)
      try connection.send(Frame(kind: .call, id: call.id, head: try BinaryEncoder().encode(head), body: call.arguments))
    } catch {
      finish(call.id, .failure(error))
    }
  }

  package func cancel(_ id: UInt64) {
    _ = state.withLock { $0.waiting.removeValue(forKey: id) }
    try? connection.send(Frame(kind: .cancel, id: id))
  }

  private func finish(_ id: UInt64, _ result: Result<ActorReply, any Error>) {
    state.withLock { $0.waiting.removeValue(forKey: id) }?(result)
  }

  /// Every call that waits, and every later one, fails with `error`; calls from the peer are cancelled.
  package func end(_ error: any Error) {
    let (waiting, running) = state.withLock { state in
      if state.end == nil { state.end = error }
      defer { (state.waiting, state.running) = ([:], [:]) }
      return (state.waiting, state.running)
    }
    for completion in waiting.values { completion(.failure(error)) }
    for task in running.values { task.cancel() }
  }

  // MARK: - Frames from the peer

  /// Handles the frames of calls; false for any other.
  package func receive(_ frame: Frame) -> Bool {
    switch frame.kind {
    case .call: run(frame)
    case .cancel: state.withLock { $0.running[frame.id] }?.cancel()
    case .value: finish(frame.id, .success(.value(frame.body)))
    case .failure: finish(frame.id, .success(.failure(Self.failure(of: frame))))
    case .ping: try? connection.send(Frame(kind: .pong))
    default: return false
    }
    return true
  }

  static func failure(of frame: Frame) -> CallFailure {
    (try? BinaryDecoder().decode(from: frame.head)) ?? CallFailure(message: "an error whose sentence did not arrive")
  }

  private func run(_ frame: Frame) {
    state.withLock { state in
      guard state.end == nil else { return }
      state.running[frame.id] = Task {
        reply(to: frame.id, await result(of: frame))
        _ = self.state.withLock { $0.running.removeValue(forKey: frame.id) }
      }
    }
  }

  private func result(of frame: Frame) async -> ActorReply {
    do {
      let head: CallHead = try BinaryDecoder().decode(from: frame.head)
      return await controlPlane.execute(
        ActorCall(
          id: frame.id, actor: ActorAddress(process: head.process, name: head.actor), method: head.method,
          arguments: frame.body))
    } catch {
      return .failure(CallFailure(error))
    }
  }

  private func reply(to id: UInt64, _ reply: ActorReply) {
    do {
      switch reply {
      case .value(let bytes): try connection.send(Frame(kind: .value, id: id, body: bytes))
      case .failure(let failure): try sendFailure(failure, .failure, id)
      }
    } catch {
      try? sendFailure(CallFailure(message: "the result cannot travel: \(error)"), .failure, id)
    }
  }

  /// Sentences are cut to what a frame's head holds.
  func sendFailure(_ failure: CallFailure, _ kind: Frame.Kind, _ id: UInt64 = 0) throws {
    var failure = failure
    if failure.message.utf8.count > 1 << 16 { failure.message = String(failure.message.prefix(1 << 14)) + " …" }
    try connection.send(Frame(kind: kind, id: id, head: try BinaryEncoder().encode(failure)))
  }
}
