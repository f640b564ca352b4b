import Inference
import Synchronization

/// Several engines of the same model in one process, to those who ask like one (SGLang's `--dp-size`).
///
/// A request goes to the engine that has seen the longest beginning of its prompt, and otherwise, or where loads are far
/// apart, to the one with the fewest requests. Everything else goes to all.
public final class DataParallelEngine: GenerationEngine {
  public typealias Member = any (UpdatableEngine & AdapterEngine)

  /// Engines share what is near: a queue grows long before a prefix is computed again.
  private static let limits: CacheAwareLimits = {
    var limits = CacheAwareLimits()
    limits.balanceAbsThreshold = 8
    return limits
  }()

  let engines: [Member]
  private let randomSeed: Int
  private let state: Mutex<State>

  private struct State {
    var policy = RoutingPolicy(.cacheAware, limits: DataParallelEngine.limits, seed: 0)
    /// Of each engine.
    var loads: [Int]
    var arrivals = 0
    var live: Set<String> = []
  }

  /// - Parameters:
  ///   - engines: at least one.
  ///   - randomSeed: what requests without a seed of their own draw theirs from, in order of arrival: engines would draw alike.
  public init(_ engines: [Member], randomSeed: Int) {
    precondition(!engines.isEmpty, "there is no engine")
    (self.engines, self.randomSeed) = (engines, randomSeed)
    state = Mutex(State(loads: Array(repeating: 0, count: engines.count)))
  }

  // MARK: Requests

  public func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    do {
      let place = try admit(request)
      let updates = Updates(engines[place.engine].stream(place.request), place)
      return AsyncThrowingStream { try await updates.next() }
    } catch {
      return AsyncThrowingStream { throw error }
    }
  }

  public func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    let place = try admit(request)
    defer { place.leave() }
    return try await engines[place.engine].generate(place.request)
  }

  /// Chooses an engine.
  private func admit(_ request: GenerateRequest) throws(InvalidRequest) -> Place {
    let admitted = state.withLock { state -> (engine: Int, arrival: Int)? in
      guard state.live.insert(request.id).inserted else { return nil }
      let candidates = state.loads.enumerated().map { RoutingCandidate(id: String($0), load: $1) }
      let engine = state.policy.choose(RoutingKey(request), among: candidates)
      state.loads[engine] += 1
      state.arrivals += 1
      return (engine, state.arrivals - 1)
    }
    guard let admitted else {
      throw InvalidRequest("The request id \(request.id) is that of a request still being served; use another.")
    }
    var request = request
    if request.sampling.samplingSeed == nil {
      request.sampling.samplingSeed = SamplingNoise(seed: randomSeed, position: admitted.arrival).signedKey
    }
    return Place(engine: admitted.engine, request: request) { [weak self, id = request.id] in
      self?.state.withLock { state in
        state.loads[admitted.engine] -= 1
        state.live.remove(id)
      }
    }
  }

  public func abort(_ id: String?) async {
    await withTaskGroup(of: Void.self) { group in
      for engine in engines { group.addTask { await engine.abort(id) } }
    }
  }

  // MARK: Control

  public func flushCache() async -> Bool {
    var areFlushed = true
    for engine in engines where await !engine.flushCache() { areFlushed = false }
    return areFlushed
  }

  public func pause(_ mode: PauseMode) async throws { _ = try await onEach { try await $0.pause(mode) } }
  public func resume() async throws { _ = try await onEach { try await $0.resume() } }

  public func rankStatuses() async throws -> [EngineStatus] { try await onEach { try await $0.status() } }

  public func status() async throws -> EngineStatus { EngineStatus(of: try await rankStatuses()) }

  /// Asks all engines at once.
  /// - Throws: what the first that failed threw, when all have answered.
  func onEach<Value: Sendable>(_ body: @escaping @Sendable (Member) async throws -> Value) async throws -> [Value] {
    try await results(body).map { try $0.get() }
  }

  func results<Value: Sendable>(
    _ body: @escaping @Sendable (Member) async throws -> Value
  ) async -> [Result<Value, any Error>] {
    await withTaskGroup(of: (Int, Result<Value, any Error>).self) { group in
      for (index, engine) in engines.enumerated() {
        group.addTask {
          do { return (index, .success(try await body(engine))) } catch { return (index, .failure(error)) }
        }
      }
      var results: [Int: Result<Value, any Error>] = [:]
      for await (index, result) in group { results[index] = result }
      return engines.indices.map { results[$0]! }
    }
  }
}

/// Where a request is served, until it has ended or nobody waits for it.
private final class Place: Sendable {
  let engine: Int
  let request: GenerateRequest
  private let onLeave: @Sendable () -> Void
  private let hasLeft = Atomic(false)

  init(engine: Int, request: GenerateRequest, onLeave: @escaping @Sendable () -> Void) {
    (self.engine, self.request, self.onLeave) = (engine, request, onLeave)
  }

  deinit { leave() }

  func leave() {
    if !hasLeft.exchange(true, ordering: .relaxed) { onLeave() }
  }
}

/// The updates of one request, for one consumer.
private final class Updates: @unchecked Sendable {
  private var iterator: AsyncThrowingStream<GenerateOutput, any Error>.Iterator
  private let place: Place

  init(_ stream: AsyncThrowingStream<GenerateOutput, any Error>, _ place: Place) {
    (iterator, self.place) = (stream.makeAsyncIterator(), place)
  }

  func next() async throws -> GenerateOutput? {
    do {
      var iterator = iterator
      let output = try await iterator.next()
      self.iterator = iterator
      if output?.finishReason != nil || output == nil { place.leave() }
      return output
    } catch {
      place.leave()
      throw error
    }
  }
}

extension RoutingKey {
  /// The prompt, and what its KV may be shared under.
  fileprivate init(_ request: GenerateRequest) {
    self.init(tokens: request.tokens)
    let names = [request.adapter, request.extraKey, request.cacheSalt]
    guard names.contains(where: { $0 != nil }) else { return }
    var hash = StableHash()
    for name in names {
      hash.add(UInt32(truncatingIfNeeded: name?.utf8.count ?? -1))
      hash.add((name ?? "").utf8)
    }
    prompt.insert(UInt32(truncatingIfNeeded: hash.value), at: 0)
  }
}
