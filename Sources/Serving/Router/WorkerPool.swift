import Inference
import Synchronization

/// A server behind a router.
struct RouterWorker: Sendable, Equatable {
  let id: String
  /// Without a slash at the end.
  let url: String
  /// What `/v1/models` calls its model.
  let model: String
}

/// The workers of a router, and which of them serves what.
final class WorkerPool: Sendable {
  /// A worker as it stands.
  struct Member: Sendable {
    let worker: RouterWorker
    var load = 0
    var isHealthy = true
    /// Takes no new requests, and is forgotten with its last.
    var isDraining = false
    var breaker: CircuitBreaker
    var served = 0
    var failed = 0
    /// Health checks in a row that contradict `isHealthy`.
    fileprivate var contradictions = 0
  }

  enum Outcome {
    case succeeded, failed
    /// Says nothing about the worker: the client has left, or was wrong.
    case neutral
  }

  private struct State {
    var members: [Member] = []
    var policy: RoutingPolicy

    func index(_ id: String) -> Int? { members.firstIndex { $0.worker.id == id } }
  }

  private let configuration: RouterConfiguration
  private let state: Mutex<State>

  init(_ configuration: RouterConfiguration) {
    self.configuration = configuration
    state = Mutex(State(policy: RoutingPolicy(configuration.policy, limits: configuration.cacheAware)))
  }

  var members: [Member] { state.withLock { $0.members } }
  /// Those that take requests, or did until they failed.
  var present: [Member] { members.filter { !$0.isDraining } }
  var treeSize: Int { state.withLock { $0.policy.treeSize } }

  // MARK: Coming and going

  /// - Throws: when the worker is there already, or serves another model than the others.
  func add(_ url: String, model: String) throws(InvalidRequest) -> RouterWorker {
    let worker = RouterWorker(id: RequestNames.unique(), url: url, model: model)
    let complaint: String? = state.withLock { state in
      for member in state.members where !member.isDraining {
        if member.worker.url == url { return "The worker \(url) is there already, as \(member.worker.id)." }
        if member.worker.model != model {
          return "The worker \(url) serves \(model), but this router's workers serve \(member.worker.model); "
            + "start another router for it."
        }
      }
      state.members.append(Member(worker: worker, breaker: CircuitBreaker(configuration.circuitBreaker)))
      return nil
    }
    if let complaint { throw InvalidRequest(complaint) }
    return worker
  }

  /// Sends a worker nothing more; what it serves now goes on to its end.
  /// - Returns: the worker as it stood; nil when there is none of that id.
  func remove(_ id: String) -> Member? {
    state.withLock { state in
      guard let index = state.index(id), !state.members[index].isDraining else { return nil }
      state.members[index].isDraining = true
      state.policy.remove(id)
      let member = state.members[index]
      if member.load == 0 { state.members.remove(at: index) }
      return member
    }
  }

  // MARK: Requests

  /// Chooses a worker for a request, one that has not been tried if there is any.
  func acquire(_ key: RoutingKey, tried: Set<String> = []) -> WorkerLease? {
    state.withLock { state in
      let now = ContinuousClock.now
      var usable = state.members.filter { member in
        member.isHealthy && !member.isDraining
          && (configuration.circuitBreakerDisabled || member.breaker.state(at: now) != .open)
      }
      let fresh = usable.filter { !tried.contains($0.worker.id) }
      if !fresh.isEmpty { usable = fresh }
      if usable.isEmpty { return nil }
      let choice = state.policy.choose(key, among: usable.map { RoutingCandidate(id: $0.worker.id, load: $0.load) })
      let worker = usable[choice].worker
      state.members[state.index(worker.id)!].load += 1
      return WorkerLease(worker, self)
    }
  }

  fileprivate func release(_ worker: RouterWorker, _ outcome: Outcome) {
    state.withLock { state in
      guard let index = state.index(worker.id) else { return }
      state.members[index].load -= 1
      switch outcome {
      case .succeeded:
        state.members[index].served += 1
        state.members[index].breaker.succeeded(at: .now)
      case .failed:
        state.members[index].failed += 1
        state.members[index].breaker.failed(at: .now)
      case .neutral: break
      }
      if state.members[index].isDraining, state.members[index].load == 0 { state.members.remove(at: index) }
    }
  }

  // MARK: Health

  /// A health check's result, or that a worker could not be reached.
  func note(_ id: String, isHealthy: Bool) {
    state.withLock { state in
      guard let index = state.index(id) else { return }
      if state.members[index].isHealthy == isHealthy {
        state.members[index].contradictions = 0
        return
      }
      state.members[index].contradictions += 1
      let needed = isHealthy ? configuration.healthSuccessThreshold : configuration.healthFailureThreshold
      guard state.members[index].contradictions >= needed else { return }
      state.members[index].isHealthy = isHealthy
      state.members[index].contradictions = 0
      // What it knew may be gone, and what was held against it is past.
      if isHealthy { state.members[index].breaker = CircuitBreaker(configuration.circuitBreaker) }
      if !isHealthy { state.policy.remove(id) }
    }
  }
}

/// A request's place at a worker, given back once: with an outcome, or when it is released.
final class WorkerLease: Sendable {
  let worker: RouterWorker
  private let pool: WorkerPool
  private let hasEnded = Atomic(false)

  fileprivate init(_ worker: RouterWorker, _ pool: WorkerPool) { (self.worker, self.pool) = (worker, pool) }

  deinit { end(.neutral) }

  func end(_ outcome: WorkerPool.Outcome) {
    if !hasEnded.exchange(true, ordering: .relaxed) { pool.release(worker, outcome) }
  }
}
