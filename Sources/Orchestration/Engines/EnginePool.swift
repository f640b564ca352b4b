import Inference
import Synchronization

/// Several engines as one: a request goes to the one with the fewest running.
final class EnginePool: GenerationEngine {
  private let engines: [any GenerationEngine]
  private let running: Mutex<[Int]>

  init(_ engines: [any GenerationEngine]) {
    self.engines = engines
    running = Mutex(Array(repeating: 0, count: engines.count))
  }

  func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    try await onLeastLoaded { try await $0.generate(request) }
  }

  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    .ofTask { [self] continuation in
      try await onLeastLoaded { engine in
        for try await output in engine.stream(request) { continuation.yield(output) }
      }
    }
  }

  private func onLeastLoaded<R>(_ body: (any GenerationEngine) async throws -> R) async throws -> R {
    let index = running.withLock { running in
      let index = running.indices.min { running[$0] < running[$1] }!
      running[index] += 1
      return index
    }
    defer { running.withLock { $0[index] -= 1 } }
    return try await body(engines[index])
  }

  func abort(_ id: String?) async {
    for engine in engines { await engine.abort(id) }
  }

  func flushCache() async -> Bool {
    var flushed = true
    for engine in engines { flushed = await engine.flushCache() && flushed }
    return flushed
  }

  func status() async throws -> EngineStatus { try await engines[0].status() }
}
