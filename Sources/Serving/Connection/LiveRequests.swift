import Inference
import Synchronization

/// The ids of the requests being served.
final class LiveRequests: Sendable {
  private struct State {
    var ids: Set<String> = []
    var groups: [String: [String]] = [:]
  }
  private let state = Mutex(State())

  var ids: Set<String> { state.withLock { $0.ids } }

  /// - Throws: when an id is live already, or given twice.
  fileprivate func add(_ ids: [String], _ groups: [String: [String]]) throws(InvalidRequest) {
    let duplicate: String? = state.withLock { state in
      var seen = Set(state.groups.keys)
      for id in Array(groups.keys) + ids where state.ids.contains(id) || !seen.insert(id).inserted { return id }
      state.ids.formUnion(ids)
      state.groups.merge(groups) { $1 }
      return nil
    }
    if let duplicate {
      throw InvalidRequest("Duplicate request id: \(duplicate) is given twice or is still being served.")
    }
  }

  fileprivate func remove(_ ids: [String], _ groups: [String: [String]]) {
    state.withLock { state in
      state.ids.subtract(ids)
      for name in groups.keys { state.groups[name] = nil }
    }
  }

  /// The requests that an id given to `/abort_request` means: itself, or the members of the batch that was given it.
  func members(of id: String) -> [String] { state.withLock { $0.groups[id] } ?? [id] }
}

/// Holds the ids of one HTTP request's work as live, and knows when its client goes away. Ends when released, at the
/// latest.
final class RequestScope: Sendable {
  private let live: LiveRequests
  private let ids: [String]
  private let groups: [String: [String]]
  /// Ends when the client goes away.
  private let presence: AsyncStream<Never>
  private let watch: Connections.Watch
  private let hasEnded = Atomic(false)

  init(_ ids: [String], _ groups: [String: [String]], _ state: ServerState, _ context: ServingContext) throws(InvalidRequest) {
    (live, self.ids, self.groups) = (state.live, ids, groups)
    try state.live.add(ids, groups)
    let (presence, end) = AsyncStream.makeStream(of: Never.self)
    self.presence = presence
    watch = state.connections.watch(context.channel) { end.finish() }
  }

  deinit { end() }

  /// Lets the ids be used again.
  func end() {
    if !hasEnded.exchange(true, ordering: .relaxed) { live.remove(ids, groups) }
  }

  /// Returns when the client has gone away, or the task is cancelled. For one task.
  func clientLeaves() async {
    for await _ in presence {}
  }
}

/// Nobody waits for the answer any more.
struct ClientGone: Error {}
