import HTTP
import NIOCore
import Synchronization

/// A worker's stream of events, for one reader at a time.
final class WorkerEvents: @unchecked Sendable {
  let response: HTTPClientResponse
  let lease: WorkerLease
  private let left = Atomic(false)
  private var iterator: HTTPClientResponse.Body.AsyncIterator
  /// What `begin` has read: nil before, an empty one when the stream has ended.
  private var first: ByteBuffer?

  init(_ response: HTTPClientResponse, _ lease: WorkerLease) {
    (self.response, self.lease) = (response, lease)
    iterator = response.body.makeAsyncIterator()
  }

  /// Waits for the first bytes.
  func begin() async throws {
    var iterator = iterator
    first = try await iterator.next()
    self.iterator = iterator
  }

  func next() async throws -> ByteBuffer? {
    if let first = first.take() { return first }
    var iterator = iterator
    return try await iterator.next()
  }

  /// Nobody wants them any more.
  var hasLeft: Bool { left.load(ordering: .relaxed) }

  func leave() {
    left.store(true, ordering: .relaxed)
    response.cancel()
  }
}
