import Foundation
import Inference
import WeightSync

/// An engine in a worker process, as the loop sees it.
struct WorkerEngine: GenerationEngine {
  let actor: EngineActor

  func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    try await withDeadline(nil) { try await actor.generate(request) }
  }

  /// One update: the finished output.
  func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    .ofTask { $0.yield(try await generate(request)) }
  }

  func abort(_ id: String?) async { try? await actor.abort(id) }
  func flushCache() async -> Bool { (try? await actor.flushCache()) == true }
  func status() async throws -> EngineStatus { try await actor.status() }
}

extension WorkerEngine: WeightTarget {
  func beginWeightUpdate() async throws { try await withDeadline(nil) { try await actor.beginWeightUpdate() } }
  func loadWeights(_ bucket: WeightBucket) async throws {
    try await withDeadline(nil) { try await actor.loadWeights(bucket) }
  }
  func endWeightUpdate(version: String) async throws {
    try await withDeadline(nil) { try await actor.endWeightUpdate(version: version) }
  }
}

/// The engine changes its weights between two steps: it need not pause.
extension WorkerEngine: FolderWeightTarget {
  func pauseForWeights() {}
  func loadWeights(from folder: URL, version: String) async throws {
    try await withDeadline(nil) { try await actor.loadWeights(from: folder.path, version: version) }
  }
  func pullWeights(into local: URL, from source: URL, version: Int) async throws {
    try await withDeadline(nil) { try await actor.pullWeights(into: local.path, from: source.path, version: version) }
  }
  func resumeAfterWeights() {}
}
