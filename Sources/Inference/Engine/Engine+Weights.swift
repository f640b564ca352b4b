import Foundation
import Torch

extension Engine {
  public func beginWeightUpdate() async throws { await stage.begin() }
  public func updateWeights(_ bucket: sending [NamedTensor]) async throws { try await stage.add(bucket) }
  public func updateWeights(_ bucket: [NamedBytes]) async throws { try await stage.add(bucket) }
  public func abandonWeightUpdate() async throws { await stage.abandon() }

  public func weightShards() async throws -> [[WeightShard]] { stage.shards }
  public func beginWeightUpdate(_ staging: WeightStaging) async throws { await stage.begin(staging) }

  public func updateWeights(_ slices: sending [WeightSlice]) async throws {
    guard let written = try await stage.add(HandedOver(slices)) else { return }
    let names = stage.names
    try await perform { try $0.write(written, modelNames: names) }
  }

  /// Says where a trainer has all weights that the engine wants, for `copyLinkedWeights`, until it is linked to others.
  /// - Throws: `EngineError` that names a slice that is not of this model, or what is missing.
  public func linkWeights(_ slices: sending [WeightSlice]) async throws {
    let slices = HandedOver(slices)
    try await stage.check(slices)
    try await perform { try $0.link(slices) }
  }

  /// Changes to the weights that the trainer has now, between two steps. Nobody else takes part in it: it is done, or nothing is.
  /// - Returns: how many requests were running.
  @discardableResult
  public func copyLinkedWeights(_ installation: WeightInstallation) async throws -> Int {
    let names = stage.names
    return try await perform { try $0.copyLinkedWeights(names: names, installation) }
  }

  public var hasOpenWeightUpdate: Bool { get async { await stage.isOpen } }

  @discardableResult
  public func endWeightUpdate(_ installation: WeightInstallation) async throws -> Int {
    let names = stage.names
    let update = try await stage.take()
    return try await perform { core in
      switch update.value {
      case .whole(let weights): try core.install(HandedOver(weights), installation)
      case .slices(let parts): try core.install(HandedOver(parts), names: names, installation)
      }
    }
  }

  @discardableResult
  public func replaceWeights(_ bucket: sending [NamedTensor], _ installation: WeightInstallation) async throws -> Int {
    try await install(stage.staged(bucket), installation)
  }

  @discardableResult
  public func replaceWeights(_ bucket: [NamedBytes], _ installation: WeightInstallation) async throws -> Int {
    try await install(stage.staged(bucket), installation)
  }

  @discardableResult
  public func replaceWeights(from folder: URL, _ installation: WeightInstallation) async throws -> Int {
    try await install(stage.staged(folder), installation)
  }

  private func install(_ weights: HandedOver<[StagedWeight]>, _ installation: WeightInstallation) async throws -> Int {
    try await perform { try $0.install(weights, installation) }
  }

  public func setWeightVersion(_ version: String, abortsRequests: Bool) async throws {
    try await perform { core in
      if abortsRequests { core.abort(nil) }
      core.weightVersion = version
    }
  }

  public func weightNames() async throws -> [String] { stage.names }

  public func weight(named name: String) async throws -> NamedBytes? {
    guard let weight = stage.description(of: name) else { return nil }
    return try await perform { try $0.weight(weight.name, shape: weight.shape, dtype: weight.dtype) }
  }

  public func resetWeights() async throws { try await perform { try $0.resetWeights() } }

  // MARK: Memory

  public func releaseMemory(_ tags: Set<MemoryTag>) async throws {
    let names = Set(stage.names)
    try await perform { try $0.release(tags, weightNames: names) }
  }

  public func resumeMemory(_ tags: Set<MemoryTag>) async throws { try await perform { try $0.resume(tags) } }
}
