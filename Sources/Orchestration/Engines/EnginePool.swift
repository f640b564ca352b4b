import Inference
import Synchronization

/// Several engines as one: a request goes to the one with the fewest running.
///
/// An engine that fails as if it were gone gets no more requests, and those that it had go to others, from their beginning.
/// It is back when a weight update has reached it again.
final class EnginePool: GenerationEngine {
  private let engines: [any GenerationEngine]
  private let state: Mutex<State>

  private struct State {
    var running: [Int]
    /// Gets no requests.
    var isOut: [Bool]
    /// Has older weights than others.
    var isOld: Set<Int> = []
  }

  init(_ engines: [any GenerationEngine]) {
    self.engines = engines
    state = Mutex(
      State(running: Array(repeating: 0, count: engines.count), isOut: Array(repeating: false, count: engines.count)))
  }

  /// Says which engines have the newest weights: the others get no requests.
  /// - Returns: those that had them the last time that this was called.
  func use(allBut out: Set<Int>) -> Set<Int> {
    state.withLock { state in
      let new = out.subtracting(state.isOld)
      state.isOld = out
      for index in state.isOut.indices { state.isOut[index] = out.contains(index) }
      return new
    }
  }

  func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    while true {
      do {
        return try await onLeastLoaded { try await $0.generate(request) }
      } catch let lost as Lost {
        guard lost.isAnotherLeft else { throw lost.cause }
      }
    }
  }

  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    .ofTask { [self] continuation in
      do {
        try await onLeastLoaded { engine in
          for try await output in engine.stream(request) { continuation.yield(output) }
        }
      } catch let lost as Lost {
        // What was yielded cannot be taken back.
        throw lost.cause
      }
    }
  }

  /// The engine that had the request is gone.
  private struct Lost: Error {
    let cause: any Error
    let isAnotherLeft: Bool
  }

  private func onLeastLoaded<R>(_ body: (any GenerationEngine) async throws -> R) async throws -> R {
    let index = state.withLock { state in
      // The last engine's own error is the best there is to tell.
      let usable = state.isOut.allSatisfy { $0 } ? Array(state.isOut.indices) : state.isOut.indices.filter { !state.isOut[$0] }
      let index = usable.min { state.running[$0] < state.running[$1] }!
      state.running[index] += 1
      return index
    }
    defer { state.withLock { $0.running[index] -= 1 } }
    do {
      return try await body(engines[index])
    } catch {
      guard await isGone(engines[index], error) else { throw error }
      let isAnotherLeft = state.withLock { state in
        state.isOut[index] = true
        return state.isOut.contains(false)
      }
      throw Lost(cause: error, isAnotherLeft: isAnotherLeft)
    }
  }

  /// Whether an engine that failed cannot be reached any more, as opposed to having refused something.
  private func isGone(_ engine: any GenerationEngine, _ error: any Error) async -> Bool {
    if error is CancellationError || error is InvalidRequest { return false }
    do {
      _ = try await engine.status()
      return false
    } catch {
      return true
    }
  }

  func abort(_ id: String?) async {
    for engine in engines { await engine.abort(id) }
  }

  func flushCache() async -> Bool {
    var flushed = true
    let isOut = state.withLock(\.isOut)
    for (engine, isOut) in zip(engines, isOut) where !isOut { flushed = await engine.flushCache() && flushed }
    return flushed
  }

  func status() async throws -> EngineStatus {
    let index = state.withLock { $0.isOut.firstIndex(of: false) ?? 0 }
    return try await engines[index].status()
  }
}
