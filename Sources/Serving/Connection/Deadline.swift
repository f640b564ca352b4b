/// The result of `operation`, or nil when it is not there within `limit`. The operation is then cancelled but not waited
/// for, so one that never answers holds nobody up.
func withDeadline<R: Sendable>(_ limit: Duration, _ operation: @escaping @Sendable () async throws -> R) async -> R? {
  let (results, continuation) = AsyncStream.makeStream(of: R?.self, bufferingPolicy: .bufferingOldest(1))
  let work = Task { continuation.yield(try? await operation()) }
  let timer = Task {
    try? await Task.sleep(for: limit)
    continuation.yield(nil)
  }
  defer {
    work.cancel()
    timer.cancel()
  }
  for await result in results { return result }
  return nil
}
