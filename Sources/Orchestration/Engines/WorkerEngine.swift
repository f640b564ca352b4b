import Foundation
import Inference
import WeightSync

/// An engine in a worker process, as the loop sees it.
package struct WorkerEngine: GenerationEngine {
  let actor: EngineActor
  /// Of each call that is about weights.
  let weightTimeout: Duration?

  package init(_ actor: EngineActor, weightTimeout: Duration?) { (self.actor, self.weightTimeout) = (actor, weightTimeout) }

  package func generate(_ request: GenerateRequest) async throws -> GenerateOutput {
    try await withDeadline(nil) { try await actor.generate(request) }
  }

  /// One update: the finished output.
  package func stream(_ request: GenerateRequest) -> AsyncThrowingStream<GenerateOutput, any Error> {
    .ofTask { $0.yield(try await generate(request)) }
  }

  package func abort(_ id: String?) async { try? await actor.abort(id) }
  package func flushCache() async -> Bool { (try? await actor.flushCache()) == true }
  package func status() async throws -> EngineStatus { try await actor.status() }

  func releaseMemory(_ tags: [MemoryTag]) async throws { try await onWeights { try await $0.releaseMemory(tags) } }
  func resumeMemory(_ tags: [MemoryTag]) async throws { try await onWeights { try await $0.resumeMemory(tags) } }

  private func onWeights<R: Sendable>(_ body: (EngineActor) async throws -> R) async throws -> R {
    try await withDeadline(weightTimeout) { try await body(actor) }
  }
}

extension WorkerEngine: WeightTarget {
  package var name: String { "\(actor.id.process)" }
  package func weightShards() async throws -> [[WeightShard]] { try await onWeights { try await $0.weightShards() } }
  package func linkWeights(_ shared: [SliceBucket]) async throws { try await onWeights { try await $0.linkWeights(shared) } }
  package func copyLinkedWeights(version: String) async throws {
    try await onWeights { try await $0.copyLinkedWeights(version: version) }
  }
  package func beginWeightUpdate() async throws { try await onWeights { try await $0.beginWeightUpdate() } }
  package func loadWeights(_ buckets: [SliceBucket]) async throws { try await onWeights { try await $0.loadWeights(buckets) } }
  package func endWeightUpdate(version: String) async throws {
    try await onWeights { try await $0.endWeightUpdate(version: version) }
  }
  package func abandonWeightUpdate() async throws { try await onWeights { try await $0.abandonWeightUpdate() } }
}

/// The engine changes its weights between two steps: it need not pause.
extension WorkerEngine: FolderWeightTarget {
  package func generatesWhileLoading() -> Bool { true }
  package func loadWeights(from folder: URL, version: String) async throws {
    try await onWeights { try await $0.loadWeights(from: folder.path, version: version) }
  }
  package func pullWeights(into local: URL, from source: URL, version: Int) async throws {
    try await onWeights { try await $0.pullWeights(into: local.path, from: source.path, version: version) }
  }
}
