import Foundation
import Inference
import JSON

/// What concerns weights, adapters and memory goes to all engines. They check it alike, so that it is in force in all of them or
/// in none.
extension DataParallelEngine: UpdatableEngine {
  public func beginWeightUpdate() async throws { _ = try await onEach { try await $0.beginWeightUpdate() } }

  /// All engines are divided alike.
  public func weightShards() async throws -> [[WeightShard]] { try await engines[0].weightShards() }

  public func beginWeightUpdate(_ staging: WeightStaging) async throws {
    _ = try await onEach { try await $0.beginWeightUpdate(staging) }
  }

  public func updateWeights(_ slices: sending [WeightSlice]) async throws {
    let slices = HandedOver(slices)
    for engine in engines { try await engine.updateWeights(slices.value) }
  }

  public func updateWeights(_ bucket: sending [NamedTensor]) async throws {
    // Each engine has its copy when it returns.
    let bucket = HandedOver(bucket)
    for engine in engines { try await engine.updateWeights(bucket.value) }
  }

  public func updateWeights(_ bucket: [NamedBytes]) async throws { _ = try await onEach { try await $0.updateWeights(bucket) } }

  public func endWeightUpdate(_ installation: WeightInstallation) async throws -> Int {
    try await onEach { try await $0.endWeightUpdate(installation) }.reduce(0, +)
  }

  public func abandonWeightUpdate() async throws { _ = try await onEach { try await $0.abandonWeightUpdate() } }

  public var hasOpenWeightUpdate: Bool { get async { await engines[0].hasOpenWeightUpdate } }

  public func replaceWeights(_ bucket: sending [NamedTensor], _ installation: WeightInstallation) async throws -> Int {
    let bucket = HandedOver(bucket)
    var running = 0
    for engine in engines { running += try await engine.replaceWeights(bucket.value, installation) }
    return running
  }

  public func replaceWeights(_ bucket: [NamedBytes], _ installation: WeightInstallation) async throws -> Int {
    try await onEach { try await $0.replaceWeights(bucket, installation) }.reduce(0, +)
  }

  public func replaceWeights(from folder: URL, _ installation: WeightInstallation) async throws -> Int {
    try await onEach { try await $0.replaceWeights(from: folder, installation) }.reduce(0, +)
  }

  public func setWeightVersion(_ version: String, abortsRequests: Bool) async throws {
    _ = try await onEach { try await $0.setWeightVersion(version, abortsRequests: abortsRequests) }
  }

  public func weight(named name: String) async throws -> NamedBytes? { try await engines[0].weight(named: name) }
  public func weightNames() async throws -> [String] { try await engines[0].weightNames() }
  public func resetWeights() async throws { _ = try await onEach { try await $0.resetWeights() } }

  /// Where one cannot let go, since it serves requests, none does.
  public func releaseMemory(_ tags: Set<MemoryTag>) async throws {
    let results = await results { try await $0.releaseMemory(tags) }
    guard let failure = results.lazy.compactMap(\.failure).first else { return }
    for (engine, result) in zip(engines, results) where result.failure == nil { try await engine.resumeMemory(tags) }
    throw failure
  }

  public func resumeMemory(_ tags: Set<MemoryTag>) async throws { _ = try await onEach { try await $0.resumeMemory(tags) } }
}

extension DataParallelEngine: AdapterEngine {
  public func loadAdapter(_ name: String, from folder: URL) async throws {
    try await loadAdapter(name) { try await $0.loadAdapter(name, from: folder) }
  }

  public func loadAdapter(_ name: String, configuration: JSONValue, tensors: [NamedBytes]) async throws {
    try await loadAdapter(name) { try await $0.loadAdapter(name, configuration: configuration, tensors: tensors) }
  }

  /// Where one does not take it, none has it.
  private func loadAdapter(_ name: String, _ load: @escaping @Sendable (Member) async throws -> Void) async throws {
    let results = await results(load)
    guard let failure = results.lazy.compactMap(\.failure).first else { return }
    for (engine, result) in zip(engines, results) where result.failure == nil { try await engine.unloadAdapter(name) }
    throw failure
  }

  public func unloadAdapter(_ name: String) async throws { _ = try await onEach { try await $0.unloadAdapter(name) } }
}

extension Result {
  fileprivate var failure: Failure? {
    if case .failure(let error) = self { error } else { nil }
  }
}
