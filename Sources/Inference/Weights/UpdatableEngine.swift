import Foundation
import Torch

/// How an update of weights ends.
public struct WeightInstallation: Sendable, Equatable {
  /// Tokens sampled from then on carry it; nil: the version stays.
  public var version: String?
  /// Running and waiting requests end with `FinishReason.abort`; otherwise they keep their KV and go on with the new weights.
  public var abortsRequests: Bool
  /// Running requests give their KV back, and it is computed again with the new weights: they pause for that long.
  public var retractsRequests: Bool
  /// The engine is paused in place afterwards, until it is told to continue.
  public var keepsPaused: Bool

  public init(
    version: String?, abortsRequests: Bool = false, retractsRequests: Bool = false, keepsPaused: Bool = false
  ) {
    (self.version, self.abortsRequests) = (version, abortsRequests)
    (self.retractsRequests, self.keepsPaused) = (retractsRequests, keepsPaused)
  }
}

/// What an engine can let go of while a trainer on the same device needs memory (SGLang's tags).
public enum MemoryTag: String, Sendable, Codable, CaseIterable {
  case weights
  case keyValueCache = "kv_cache"
  case cudaGraph = "cuda_graph"
}

/// An engine whose weights can be replaced, looked at, and let go of.
///
/// An update comes whole or not at all: its tensors are gathered beside the model while requests go on with the old weights,
/// and are copied into it between two steps. Where a name, a shape or a bucket is wrong, or the sender falls
/// silent, the old weights and their version stay.
public protocol UpdatableEngine: GenerationEngine {
  /// Opens an update in several buckets; one that is open already is begun anew.
  func beginWeightUpdate() async throws
  /// Opens an update that comes as slices, of which each rank takes what it holds; it must bring all of that.
  func beginWeightUpdate(_ staging: WeightStaging) async throws
  /// By rank: what the engine's ranks hold of the checkpoint, and so want of an update.
  func weightShards() async throws -> [[WeightShard]]
  /// Adds slices, of any dtype and device, to the open update; their memory is not used after this returns.
  func updateWeights(_ slices: sending [WeightSlice]) async throws
  /// Adds tensors, of any dtype and device, to the open update.
  func updateWeights(_ bucket: sending [NamedTensor]) async throws
  func updateWeights(_ bucket: [NamedBytes]) async throws
  /// Puts the update in force, and closes it.
  /// - Returns: how many requests were running.
  @discardableResult
  func endWeightUpdate(_ installation: WeightInstallation) async throws -> Int
  /// Closes the open update, if there is one, without effect.
  func abandonWeightUpdate() async throws
  var hasOpenWeightUpdate: Bool { get async }

  /// An update of one bucket.
  @discardableResult
  func replaceWeights(_ bucket: sending [NamedTensor], _ installation: WeightInstallation) async throws -> Int
  @discardableResult
  func replaceWeights(_ bucket: [NamedBytes], _ installation: WeightInstallation) async throws -> Int
  /// An update to the weights of a Hugging Face folder of the same model.
  @discardableResult
  func replaceWeights(from folder: URL, _ installation: WeightInstallation) async throws -> Int
  /// Gives the weights as they are another version.
  func setWeightVersion(_ version: String, abortsRequests: Bool) async throws

  /// A tensor by its name in the checkpoint, as the model holds it; nil where there is none.
  func weight(named name: String) async throws -> NamedBytes?
  /// The checkpoint names of all weights, in the model's order.
  func weightNames() async throws -> [String]
  /// Fills all weights with numbers that no model has, to show that an update replaces them all.
  func resetWeights() async throws

  /// Gives memory back. Requests wait until all of it is there again.
  /// - Throws: `InvalidRequest` while requests hold KV.
  func releaseMemory(_ tags: Set<MemoryTag>) async throws
  func resumeMemory(_ tags: Set<MemoryTag>) async throws
}

extension UpdatableEngine {
  public func endWeightUpdate(version: String) async throws {
    try await endWeightUpdate(WeightInstallation(version: version))
  }
}
