import Checkpoints
import Foundation
import Inference
import Models
import Torch
import Training
import WeightSync

/// All ranks of a trainer as one: every call goes to each of them.
///
/// Calls may take as long as they need: what bounds them is the deadline of each collective, and the life of the workers.
public struct TrainerGroup: Sendable {
  public let ranks: [TrainerActor]

  public init(_ ranks: [TrainerActor]) { self.ranks = ranks }

  /// Brings the ranks together and loads the model on them.
  public func start(
    _ setup: TrainerSetup, role: TrainRole, withRef: Bool, withOPDTeacher: Bool, devices: [Device]
  ) async throws {
    let port = try await ranks[0].openStore(rankCount: ranks.count, timeoutSeconds: setup.timeoutSeconds)
    _ = try await onAll { rank, trainer in
      var own = setup
      (own.rank, own.storePort, own.device) = (rank, port, devices[rank])
      return try await trainer.start(own, role: role, withRef: withRef, withOPDTeacher: withOPDTeacher)
    }
  }

  /// - Returns: the last rank's report: it is of the pipeline's last stage, whose ranks agree. A critic's values are all
  ///   ranks'.
  public func train(_ batch: TrainBatch) async throws -> TrainReport {
    let reports = try await onAll { try await $1.train(rolloutID: batch.rolloutID, rolloutData: batch) }
    var report = reports[reports.count - 1]
    report.values = reports.flatMap(\.values)
    return report
  }

  /// By rank, in bytes.
  func residentMemory() async throws -> [Int] { try await onAll { try await $1.residentMemory() } }
  func peakMemory(training batch: TrainBatch) async throws -> [Int] {
    try await onAll { try await $1.peakMemory(training: batch) }
  }

  public func stepCount() async throws -> Int { try await ranks[0].stepCount() }

  /// In the order of `sequences`.
  public func score(_ sequences: [[Int32]], tokensPerPack: Int) async throws -> [ScoredSequence] {
    try await onAll { try await $1.score(sequences, tokensPerPack: tokensPerPack) }.flatMap { $0 }
      .sorted { $0.index < $1.index }
  }

  /// Moves what is not needed until `wakeUp` to host memory.
  func sleep() async throws { _ = try await onAll { try await $1.sleep() } }
  func wakeUp() async throws { _ = try await onAll { try await $1.wakeUp() } }

  /// The weights are about to go to the engine.
  public func updateWeights() async throws { _ = try await onAll { try await $1.updateWeights() } }

  /// Begins to write the training state into the partial folder of an iteration; training may go on.
  /// - Parameter forceSync: it is written when this returns.
  public func save(rolloutID: Int, forceSync: Bool) async throws {
    _ = try await onAll { try await $1.save(rolloutID: rolloutID, forceSync: forceSync) }
  }

  /// Waits until all ranks have written, and describes what they wrote.
  public func finishSaving(into folder: URL, common: PickleValue) async throws {
    let contents = try await onAll { try await $1.finishSaving() }.compactMap { $0 }
    guard !contents.isEmpty else { return }
    try MegatronFormat.writeCommon(common, to: folder)
    try MegatronFormat.writeDescription(to: folder)
    try TorchDistMetadata(merging: contents).write(to: folder)
  }

  public func saveHuggingFace(to folder: URL, dtype: DType) async throws {
    _ = try await onAll { try await $1.saveHuggingFace(to: folder.path, dtype: dtype) }
  }

  private func onAll<R: Sendable>(_ body: @escaping @Sendable (Int, TrainerActor) async throws -> R) async throws -> [R] {
    try await withDeadline(nil) {
      try await withThrowingTaskGroup(of: (Int, R).self) { group in
        for (rank, trainer) in ranks.enumerated() { group.addTask { (rank, try await body(rank, trainer)) } }
        var results: [Int: R] = [:]
        for try await (rank, result) in group { results[rank] = result }
        return ranks.indices.map { results[$0]! }
      }
    }
  }
}

/// A trainer rank as a source of weights.
package struct TrainerWeights: WeightSource, WeightSliceSource {
  let trainer: TrainerActor
  /// Of each call.
  let timeout: Duration

  package init(_ trainer: TrainerActor, timeout: Duration) { (self.trainer, self.timeout) = (trainer, timeout) }

  package func exportWeights(_ request: WeightRequest) async throws -> WeightExport {
    try await withDeadline(timeout) { try await trainer.exportWeights(request) }
  }

  package func openWeightGroup(rankCount: Int, timeout: Duration) async throws -> Int {
    try await withDeadline(self.timeout) { try await trainer.openWeightGroup(rankCount: rankCount, timeout: timeout) }
  }

  package func joinWeightGroup(_ place: WeightGroupPlace, timeout: Duration) async throws {
    try await withDeadline(self.timeout) { try await trainer.joinWeightGroup(place, timeout: timeout) }
  }

  package func broadcastBucket(_ number: Int) async throws {
    try await withDeadline(timeout) { try await trainer.broadcastBucket(number) }
  }

  package func leaveWeightGroup() async throws { try await withDeadline(timeout) { try await trainer.leaveWeightGroup() } }

  package func weightShards() async throws -> [WeightShard] { try await withDeadline(timeout) { try await trainer.weightShards() } }

  package func shareWeights() async throws -> SliceBucket? { try await withDeadline(timeout) { try await trainer.shareWeights() } }

  package func settleWeights() async throws { try await withDeadline(timeout) { try await trainer.settleWeights() } }

  package func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) async throws -> SliceBucket {
    try await withDeadline(timeout) { try await trainer.fillBucket(shards, buffer: buffer, capacity: capacity) }
  }

  package func releaseWeights() async throws { try await withDeadline(timeout) { try await trainer.releaseWeights() } }
}

/// A trainer rank whose weights engines do not read in place: all of them go through buckets.
package struct BucketedWeights: WeightSliceSource {
  let base: TrainerWeights

  package init(_ base: TrainerWeights) { self.base = base }

  package func weightShards() async throws -> [WeightShard] { try await base.weightShards() }
  package func shareWeights() -> SliceBucket? { nil }
  package func settleWeights() {}
  package func fillBucket(_ shards: [WeightShard], buffer: Int, capacity: Int) async throws -> SliceBucket {
    try await base.fillBucket(shards, buffer: buffer, capacity: capacity)
  }
  package func releaseWeights() async throws { try await base.releaseWeights() }
}
