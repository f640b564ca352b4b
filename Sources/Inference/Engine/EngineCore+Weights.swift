import Foundation
import Torch

extension EngineCore {
  /// Copies weights into the model, between two steps. KV of the weights before is of no use to requests after it.
  /// - Returns: how many requests were running.
  func install(_ weights: HandedOver<[StagedWeight]>, _ installation: WeightInstallation) throws -> Int {
    try install(weights.value.flatMap(\.names), installation) { try ranks.onEvery { $0.install(weights.value) } }
  }

  /// The same with each rank's own parts.
  /// - Parameter names: of all weights, which the update has brought.
  func install(
    _ parts: HandedOver<[[String: Tensor]]>, names: [String], _ installation: WeightInstallation
  ) throws -> Int {
    try install(names, installation) { try ranks.onEvery { $0.install(parts: parts.value[$0.parallel.rank]) } }
  }

  /// Writes slices into the model, each rank its own. Until a whole update has come, it is nothing to sample from.
  func write(_ slices: HandedOver<[[WeightSlice]]>, modelNames: [String]) throws {
    try requireWeights("be updated")
    missingWeights = Set(modelNames)
    try catchingTorchErrors { try ranks.onEvery { $0.write(slices.value[$0.parallel.rank]) } }
  }

  /// Remembers where a whole update is copied from.
  func link(_ slices: HandedOver<[WeightSlice]>) throws {
    try catchingTorchErrors { try ranks.onEvery { $0.link(slices.value) } }
  }

  /// - Parameter names: of all weights.
  func copyLinkedWeights(names: [String], _ installation: WeightInstallation) throws -> Int {
    guard ranks.runner.linkedWeights != nil else {
      throw EngineError("The engine is not linked to a trainer's weights; link it before they are copied.")
    }
    return try install(names, installation) {
      // Should the copy fail, what is half old and half new is nothing to sample from.
      missingWeights = Set(names)
      try ranks.onEvery { $0.copyLinkedWeights() }
    }
  }

  private func install(_ names: [String], _ installation: WeightInstallation, _ copy: () throws -> Void) throws -> Int {
    try requireWeights("be updated")
    if installation.abortsRequests { abort(nil) }
    let running = scheduler.runningCount
    let retracts = installation.retractsRequests && scheduler.mode == .running
    if retracts { pause(.retract) }
    let copied = Result { try catchingTorchErrors { try copy() } }
    if retracts { resume() }
    try copied.get()
    forgetPrefixes()
    for name in names { missingWeights.remove(name) }
    if let version = installation.version { weightVersion = version }
    if installation.keepsPaused { pause(.inPlace) }
    return running
  }

  private func requireWeights(_ purpose: String) throws {
    guard !released.contains(.weights) else {
      throw InvalidRequest("The weights were let go of and cannot \(purpose); ask for /resume_memory_occupation first.")
    }
  }

  /// A tensor of the checkpoint, put together from the ranks' parts.
  func weight(_ name: String, shape: [Int], dtype: DType) throws -> NamedBytes {
    try requireWeights("be read")
    let whole = HandedOver(Tensor.empty(shape, dtype: dtype))
    try ranks.onEvery { $0.export(name, into: whole.value) }
    return NamedBytes(name, dtype: dtype, shape: shape, bytes: whole.value.withBytes { Data($0) })
  }

  func resetWeights() throws {
    try requireWeights("be reset")
    try ranks.onEvery { $0.resetWeights() }
  }

  // MARK: Memory

  func release(_ tags: Set<MemoryTag>, weightNames: Set<String>) throws {
    let new = tags.subtracting(released)
    if let message = busy, !new.isEmpty { throw InvalidRequest(message) }
    if new.contains(.keyValueCache) { forgetPrefixes() }
    try ranks.onEvery { [keeps = options.stashesWeights] in
      if !new.isEmpty { $0.forgetRecordings(new) }
      try $0.release(new, keepsWeights: keeps)
    }
    try speculator?.drafter.release(new)
    if new.contains(.weights), !options.stashesWeights {
      missingWeights = weightNames.filter { !model.configuration.isOfPredictionLayer($0) }
    }
    released.formUnion(new)
  }

  private var busy: String? {
    scheduler.canFlush
      ? nil : "Memory cannot be released while \(scheduler.runningCount + scheduler.waitingCount) requests are served; pause first, with mode abort or retract."
  }

  func resume(_ tags: Set<MemoryTag>) throws {
    let back = tags.intersection(released)
    try ranks.onEvery { try $0.resume(back) }
    try speculator?.drafter.resume(back)
    released.subtract(back)
    if !back.isEmpty, released.isEmpty, !ranks.runner.hasRecordings { try recordDecoding() }
  }
}
