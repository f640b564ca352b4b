import NIOCore
import Synchronization

/// Which client connections are open, so that work for a client that is gone can be stopped.
final class Connections: Sendable {
  private struct State {
    /// Whose client is gone. An entry stays until the identity is that of a new connection.
    var closed: Set<ObjectIdentifier> = []
    var watchers: [ObjectIdentifier: [Int: @Sendable () -> Void]] = [:]
    var nextWatcher = 0
  }
  private let state = Mutex(State())

  /// Stops watching when it is released.
  final class Watch: Sendable {
    private let connections: Connections
    private let channel: ObjectIdentifier
    private let number: Int

    fileprivate init(_ connections: Connections, _ channel: ObjectIdentifier, _ number: Int) {
      (self.connections, self.channel, self.number) = (connections, channel, number)
    }

    deinit {
      connections.state.withLock { state in
        state.watchers[channel]?[number] = nil
        if state.watchers[channel]?.isEmpty == true { state.watchers[channel] = nil }
      }
    }
  }

  /// Calls `onClose` once when the client of this connection goes away, at once if it is gone already.
  func watch(_ channel: any Channel, onClose: @escaping @Sendable () -> Void) -> Watch {
    let id = ObjectIdentifier(channel)
    let (number, isGone) = state.withLock { state in
      state.nextWatcher += 1
      if !state.closed.contains(id) { state.watchers[id, default: [:]][state.nextWatcher] = onClose }
      return (state.nextWatcher, state.closed.contains(id))
    }
    if isGone { onClose() }
    return Watch(self, id, number)
  }

  private func opened(_ channel: any Channel) { state.withLock { _ = $0.closed.remove(ObjectIdentifier(channel)) } }

  private func clientClosed(_ channel: any Channel) {
    let watchers = state.withLock { state in
      state.closed.insert(ObjectIdentifier(channel))
      return state.watchers.removeValue(forKey: ObjectIdentifier(channel))
    }
    for onClose in (watchers ?? [:]).values { onClose() }
  }

  /// Sits in a connection's pipeline and tells of its end.
  final class Handler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = NIOAny
    private let connections: Connections

    init(_ connections: Connections) { self.connections = connections }

    func handlerAdded(context: ChannelHandlerContext) { connections.opened(context.channel) }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
      // Half-closure is enabled, so a client that closes its socket first shows as an end of input.
      if event as? ChannelEvent == .inputClosed { connections.clientClosed(context.channel) }
      context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
      connections.clientClosed(context.channel)
      context.fireChannelInactive()
    }
  }
}
