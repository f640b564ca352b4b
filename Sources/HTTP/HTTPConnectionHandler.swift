import NIOCore
import NIOHTTP1

/// Sits at the end of a connection's pipeline and answers one request at a time.
final class HTTPConnectionHandler: ChannelInboundHandler, ChannelOutboundHandler {
  typealias InboundIn = HTTPClientResponsePart
  typealias OutboundIn = Start
  typealias OutboundOut = HTTPClientRequestPart

  /// Written to the channel to begin a request.
  struct Start: Sendable {
    var head: HTTPRequestHead
    var body: ByteBuffer
    var timeout: Duration
    var exchange: HTTPExchange
    var answer: EventLoopPromise<HTTPClientResponse>
  }
  struct Cancel: Sendable { var exchange: HTTPExchange }
  struct ReadOn: Sendable { var exchange: HTTPExchange }

  private struct Current {
    var exchange: HTTPExchange
    var timer: Scheduled<Void>
    /// Until the head has come.
    var answer: EventLoopPromise<HTTPClientResponse>?
    var source: HTTPClientResponse.Body.Producer.Source?
    var keepsAlive = true
  }

  /// Bytes are few when parts are: a part is at most what a read of the socket brings.
  private static let watermarks = NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark(
    lowWatermark: 8, highWatermark: 32)

  private let server: String
  private var current: Current?
  /// Whether the body's reader has enough for now.
  private var isPaused = false
  /// The connection can take another request.
  private let onIdle: @Sendable (any Channel) -> Void

  init(server: String, onIdle: @escaping @Sendable (any Channel) -> Void) { (self.server, self.onIdle) = (server, onIdle) }

  // MARK: From the client

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let start = unwrapOutboundIn(data)
    guard start.exchange.isWanted, current == nil, context.channel.isActive else {
      context.close(promise: nil)
      let error = start.exchange.isWanted ? HTTPClientError.closed(server, beganAnswer: false) : .cancelled
      start.answer.fail(error)
      promise?.fail(error)
      return
    }
    let (channel, limit, server) = (context.channel, start.timeout, server)
    let timer = context.eventLoop.assumeIsolated().scheduleTask(in: .nanoseconds(Int64(min(limit.seconds, 1e9) * 1e9))) {
      self.end(channel, .failure(HTTPClientError.timedOut(server, after: limit)))
    }
    current = Current(exchange: start.exchange, timer: timer, answer: start.answer)
    context.write(wrapOutboundOut(.head(start.head)), promise: nil)
    if start.body.readableBytes > 0 { context.write(wrapOutboundOut(.body(.byteBuffer(start.body))), promise: nil) }
    context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: promise)
  }

  func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
    switch event {
    case let cancel as Cancel:
      // After its end the connection may serve another one.
      if current?.exchange === cancel.exchange { end(context.channel, .failure(HTTPClientError.cancelled)) }
    case let more as ReadOn:
      if current?.exchange === more.exchange, isPaused {
        isPaused = false
        context.read()
      }
    default: context.triggerUserOutboundEvent(event, promise: promise)
    }
  }

  func read(context: ChannelHandlerContext) {
    if !isPaused { context.read() }
  }

  // MARK: From the server

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .head(let head):
      guard let current, let answer = current.answer else {
        return end(context.channel, .failure(HTTPClientError.notHTTP(server, reason: "it speaks without being asked")))
      }
      // 100 Continue and its like come before the answer.
      if (100..<200).contains(head.status.code) { return }
      let body = HTTPClientResponse.Body.Producer.makeSequence(
        elementType: ByteBuffer.self, failureType: (any Error).self, backPressureStrategy: Self.watermarks,
        finishOnDeinit: false, delegate: current.exchange)
      self.current?.answer = nil
      self.current?.source = body.source
      self.current?.keepsAlive = head.isKeepAlive
      answer.succeed(
        HTTPClientResponse(
          status: Int(head.status.code), headers: head.headers.map { ($0.name, $0.value) },
          body: HTTPClientResponse.Body(producer: body.sequence, exchange: current.exchange), server: server))
    case .body(let part):
      guard let source = current?.source else { return }
      switch source.yield(part) {
      case .produceMore: break
      case .stopProducing: isPaused = true
      case .dropped: end(context.channel, .failure(HTTPClientError.cancelled))
      }
    case .end: if current?.source != nil { end(context.channel, .success(())) }
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    end(context.channel, .failure(HTTPClientError.closed(server, beganAnswer: current?.source != nil)))
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    let reason: HTTPClientError =
      switch error {
      case is HTTPParserError where "\(error)" == "\(HTTPParserError.invalidEOFState)":
        .closed(server, beganAnswer: current?.source != nil)
      case is HTTPParserError: .notHTTP(server, reason: "\(error)")
      default: .closed(server, beganAnswer: current?.source != nil)
      }
    end(context.channel, .failure(reason))
  }

  /// Ends the current request, if there is one. Only after a whole answer can the connection be used again.
  private func end(_ channel: any Channel, _ result: Result<Void, any Error>) {
    guard let ended = current.take() else {
      if case .failure = result { channel.close(promise: nil) }
      return
    }
    ended.timer.cancel()
    let wasPaused = isPaused
    isPaused = false
    switch result {
    case .success:
      if ended.keepsAlive { onIdle(channel) } else { channel.close(promise: nil) }
      ended.source?.finish()
      if wasPaused { channel.read() }
    case .failure(let error):
      channel.close(promise: nil)
      ended.answer?.fail(error)
      ended.source?.finish(error)
    }
  }
}
