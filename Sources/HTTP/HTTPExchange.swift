import NIOCore
import Synchronization

/// One request on a connection, from its start to the end of its answer. Reached from tasks; acts on the connection's loop.
final class HTTPExchange: NIOAsyncSequenceProducerDelegate, Sendable {
  let channel: any Channel
  private let isCancelled = Atomic(false)

  init(_ channel: any Channel) { self.channel = channel }

  /// Whether it may begin.
  var isWanted: Bool { !isCancelled.load(ordering: .relaxed) }

  /// Ends it with an error, unless it has ended.
  func cancel() {
    guard !isCancelled.exchange(true, ordering: .relaxed) else { return }
    channel.triggerUserOutboundEvent(HTTPConnectionHandler.Cancel(exchange: self), promise: nil)
  }

  func produceMore() { channel.triggerUserOutboundEvent(HTTPConnectionHandler.ReadOn(exchange: self), promise: nil) }

  /// Nobody reads the body any more.
  func didTerminate() { cancel() }
}
