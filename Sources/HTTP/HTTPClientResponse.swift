import NIOCore

/// An answer: its head, and its body as it comes.
///
/// A body that is not read to its end closes the connection when the response is released or cancelled.
public struct HTTPClientResponse: Sendable {
  public let status: Int
  public let headers: [(name: String, value: String)]
  public let body: Body
  /// The server, for messages.
  let server: String

  /// The first value of a header.
  public func header(_ name: String) -> String? {
    headers.first { $0.name.lowercased() == name.lowercased() }?.value
  }

  /// The whole body.
  /// - Throws: `HTTPClientError`, also when there are more bytes than `limit`.
  public func collect(upTo limit: Int) async throws -> ByteBuffer {
    var all = ByteBuffer()
    for try await var part in body {
      guard all.readableBytes + part.readableBytes <= limit else {
        cancel()
        throw HTTPClientError.tooLarge(server, limit: limit)
      }
      all.writeBuffer(&part)
    }
    return all
  }

  /// Closes the connection; whoever reads the body gets an error.
  public func cancel() { body.exchange.cancel() }

  /// The parts of a body in order, for one reader. What nobody reads is not received either.
  public struct Body: AsyncSequence, Sendable {
    typealias Producer = NIOThrowingAsyncSequenceProducer<
      ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, HTTPExchange
    >
    let producer: Producer
    let exchange: HTTPExchange

    public struct AsyncIterator: AsyncIteratorProtocol {
      let iterator: Producer.AsyncIterator

      public mutating func next() async throws -> ByteBuffer? { try await iterator.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(iterator: producer.makeAsyncIterator()) }
  }
}
