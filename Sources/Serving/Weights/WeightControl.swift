import Foundation
import Inference
import JSON
import Torch
import WeightSync

/// What the routes for weights share: the groups that an engine is in, and what an open update will be called.
actor WeightControl {
  let groups: WeightGroups
  /// Of the open update: what its requests asked for when it ends.
  private var pending = WeightInstallation(version: nil)
  private var snapshot: [String: NamedBytes] = [:]

  init(timeout: Duration) { groups = WeightGroups(timeout: timeout) }

  func begin(_ engine: any UpdatableEngine) async throws {
    pending = WeightInstallation(version: nil)
    try await engine.beginWeightUpdate()
  }

  func end(_ engine: any UpdatableEngine, version: String?, retracts: Bool) async throws {
    var installation = pending
    if retracts { installation.retractsRequests = true }
    if let version { installation.version = version }
    pending = WeightInstallation(version: nil)
    try await engine.endWeightUpdate(installation)
  }

  /// Adds a bucket to the open update; without one, the bucket is an update of its own.
  /// - Returns: whether the weights are in force.
  func take(
    _ bucket: sending [NamedTensor], _ installation: WeightInstallation, _ engine: any UpdatableEngine
  ) async throws -> Bool {
    guard await engine.hasOpenWeightUpdate else {
      try await engine.replaceWeights(bucket, installation)
      return true
    }
    try await engine.updateWeights(bucket)
    note(installation)
    return false
  }

  func take(_ bucket: [NamedBytes], _ installation: WeightInstallation, _ engine: any UpdatableEngine) async throws -> Bool {
    guard await engine.hasOpenWeightUpdate else {
      try await engine.replaceWeights(bucket, installation)
      return true
    }
    try await engine.updateWeights(bucket)
    note(installation)
    return false
  }

  private func note(_ installation: WeightInstallation) {
    if let version = installation.version { pending.version = version }
    if installation.abortsRequests { pending.abortsRequests = true }
    if installation.retractsRequests { pending.retractsRequests = true }
  }

  // MARK: Looking at weights

  func checksums(_ engine: any UpdatableEngine) async throws -> JSONObject {
    var sums = JSONObject()
    for name in try await engine.weightNames() {
      guard let weight = try await engine.weight(named: name) else { continue }
      sums[name] = .string(weight.bytes.withUnsafeBytes { XXHash64.hex($0) })
    }
    return sums
  }

  func takeSnapshot(_ engine: any UpdatableEngine) async throws {
    snapshot = [:]
    for name in try await engine.weightNames() { snapshot[name] = try await engine.weight(named: name) }
  }

  /// - Throws: `InvalidRequest` with the names of the weights that are not those of the snapshot.
  func compareWithSnapshot(_ engine: any UpdatableEngine, skipping: Set<String>) async throws {
    guard !snapshot.isEmpty else { throw InvalidRequest("There is no snapshot to compare with; take one first.") }
    var different: [String] = []
    for name in try await engine.weightNames() where !skipping.contains(name) {
      if try await engine.weight(named: name)?.bytes != snapshot[name]?.bytes { different.append(name) }
    }
    guard different.isEmpty else {
      throw InvalidRequest(
        "\(different.count) weights differ from the snapshot: \(different.prefix(8).joined(separator: ", ")).")
    }
  }
}
