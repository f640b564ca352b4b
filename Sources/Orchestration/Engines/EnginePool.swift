import Inference
import Synchronization
import WeightSync

/// Engines in worker processes as one: a request goes to the one with the fewest running.
final class EnginePool: GenerationEngine {
  private let engines: [EngineActor]
  private let running: Mutex<[Int]>

  init(_ engines: [EngineActor]) {
    self.engines = engines
    running = Mutex(Array(repeating: 0, count: engines.count))
  }

  func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    let index = running.withLock { running in
      let index = running.indices.min { running[$0] < running[$1] }!
      running[index] += 1
      return index
    }
    defer { running.withLock { $0[index] -= 1 } }
    return try await withDeadline(nil) { try await engines[index].generate(request) }
  }

  /// One update: the finished output.
  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    AsyncThrowingStream { continuation in
      let task = Task {
        do {
          continuation.yield(try await generate(request))
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
      continuation.onTermination = { if case .cancelled = $0 { task.cancel() } }
    }
  }

  func abort(_ id: String?) async {
    for engine in engines { try? await engine.abort(id) }
  }

  func flushCache() async -> Bool {
    var flushed = true
    for engine in engines { flushed = (try? await engine.flushCache()) == true && flushed }
    return flushed
  }

  func status() async throws -> EngineStatus { try await engines[0].status() }

  var weightTargets: [any WeightTarget] { engines.map(EngineWeights.init) }
}

/// An engine as a target of weights.
private struct EngineWeights: WeightTarget {
  let engine: EngineActor

  func beginWeightUpdate() async throws { try await withDeadline(nil) { try await engine.beginWeightUpdate() } }
  func loadWeights(_ bucket: WeightBucket) async throws {
    try await withDeadline(nil) { try await engine.loadWeights(bucket) }
  }
  func endWeightUpdate(version: String) async throws {
    try await withDeadline(nil) { try await engine.endWeightUpdate(version: version) }
  }
}
