import Foundation
import Torch

extension EngineCore {
  /// Copies weights into the model, between two steps.
  /// - Returns: how many requests were running.
  func install(_ weights: [StagedWeight], _ installation: WeightInstallation) throws -> Int {
    try requireWeights("be updated")
    if installation.abortsRequests { abort(nil) }
    let running = scheduler.runningCount
    try catchingTorchErrors {
      for weight in weights { _ = model.table.parameters[weight.parameter].tensor[weight.rows].copy_(weight.tensor) }
      Runtime.synchronize(options.device)
    }
    for weight in weights { missingWeights.subtract(weight.names) }
    if let version = installation.version { weightVersion = version }
    if installation.keepsPaused { pause(.inPlace) }
    return running
  }

  private func requireWeights(_ purpose: String) throws {
    guard !released.contains(.weights) else {
      throw InvalidRequest("The weights were let go of and cannot \(purpose); ask for /resume_memory_occupation first.")
    }
  }

  var weightNames: [String] { model.table.parameters.flatMap { $0.pieces.map(\.checkpointName) } }

  func weight(_ name: String, _ place: WeightPlaces.Place) throws -> NamedBytes {
    try requireWeights("be read")
    return try catchingTorchErrors {
      let tensor = model.table.parameters[place.parameter].tensor[place.rows]
      return NamedBytes(name, dtype: tensor.dtype, shape: tensor.shape, bytes: tensor.withBytes { Data($0) })
    }
  }

  func resetWeights() throws {
    try requireWeights("be reset")
    try catchingTorchErrors { for parameter in model.table.parameters { _ = parameter.tensor.fill_(-7) } }
  }

  // MARK: Memory

  func release(_ tags: Set<MemoryTag>, weightNames: Set<String>) throws {
    let new = tags.subtracting(released)
    if let message = busy, !new.isEmpty { throw InvalidRequest(message) }
    let device = options.device
    try catchingTorchErrors {
      if new.contains(.keyValueCache) { cache.empty() }
      if new.contains(.weights) {
        let keeps = options.stashesWeights
        let isOnHost = device.kind == .cpu
        if keeps, !isOnHost { stashedWeights = model.table.parameters.map { $0.tensor.to(device: .cpu, copy: true) } }
        if !(keeps && isOnHost) { for parameter in model.table.parameters { parameter.tensor.emptyStorage() } }
        if !keeps { missingWeights = weightNames }
      }
    }
    released.formUnion(new)
    if device.kind == .cuda { try DeviceMemory.emptyCache() }
  }

  private var busy: String? {
    scheduler.canFlush
      ? nil : "Memory cannot be released while \(scheduler.runningCount + scheduler.waitingCount) requests are served; pause first, with mode abort or retract."
  }

  func resume(_ tags: Set<MemoryTag>) throws {
    let back = tags.intersection(released)
    try catchingTorchErrors {
      if back.contains(.keyValueCache) { cache.refill() }
      if back.contains(.weights) {
        for (index, parameter) in model.table.parameters.enumerated() where parameter.tensor.storageByteCount == 0 {
          parameter.tensor.refillStorage(bytes: parameter.tensor.byteCount)
          if !stashedWeights.isEmpty { _ = parameter.tensor.copy_(stashedWeights[index]) }
        }
        stashedWeights = []
      }
    }
    released.subtract(back)
  }
}
