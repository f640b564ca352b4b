import Foundation
import Serving
import Torch
import WeightSync

/// Brings a trainer's weights to the engines, in the way that the flags choose.
protocol WeightUpdate: Sendable {
  /// - Parameter version: how many rollouts were trained on.
  /// - Throws: what went wrong at the trainer, or with the engines if it reached none.
  func update(version: Int) async throws -> WeightUpdateReport
}

extension UpdateWeightFromTensor: WeightUpdate {
  func update(version: Int) async throws -> WeightUpdateReport { try await update(version: String(version)) }
}

extension UpdateWeightFromDistributed: WeightUpdate {
  func update(version: Int) async throws -> WeightUpdateReport { try await update(version: String(version)) }
}

extension UpdateWeightFromDisk: WeightUpdate {}
extension UpdateWeightFromDelta: WeightUpdate {}

/// The engines of a run, by who started them.
enum RunEngines {
  case launched([WorkerEngine])
  case external([RemoteEngine])

  var pool: EnginePool {
    switch self {
    case .launched(let engines): EnginePool(engines)
    case .external(let engines): EnginePool(engines.map(RemoteGenerationEngine.init))
    }
  }

  var folderTargets: [any FolderWeightTarget] {
    switch self {
    case .launched(let engines): engines
    case .external(let engines): engines
    }
  }
}

extension TrainConfiguration {
  /// - Parameter isFloat8: whether the model folder has linear weights as e4m3.
  func weightUpdate(from trainers: TrainerGroup, to engines: RunEngines, isFloat8: Bool) throws -> any WeightUpdate {
    let timeout = Duration.seconds(cluster.distributedTimeoutMinutes * 60)
    let sources = trainers.ranks.map { TrainerWeights($0, timeout: timeout) }
    let (bufferSize, dtype) = (backend.updateWeightBufferSize, backend.resolvedDType.tensorType)
    if backend.weightTransport == .disk {
      let folder = URL(fileURLWithPath: backend.weightFolder ?? "")
      @Sendable func save(_ place: URL) async throws { try await trainers.saveHuggingFace(to: place, dtype: dtype) }
      guard let local = backend.localWeightFolder, backend.updateWeightMode == .delta else {
        return UpdateWeightFromDisk(
          targets: engines.folderTargets, folder: folder, keepsFiles: backend.keepsWeightFiles, save: save)
      }
      return UpdateWeightFromDelta(
        targets: engines.folderTargets, folder: folder, localFolder: URL(fileURLWithPath: local),
        encoding: backend.deltaEncoding ?? .xor, checksum: backend.deltaChecksum ?? .xxh64,
        keepsFiles: backend.keepsWeightFiles, save: save)
    }
    switch engines {
    case .launched(let engines):
      return UpdateWeightFromTensor(sources: sources, targets: engines, bufferSize: bufferSize)
    case .external(let engines):
      return try UpdateWeightFromDistributed(
        sources: sources, engines: engines.map(\.address), bufferSize: bufferSize, dtype: dtype, isFloat8: isFloat8,
        way: backend.weightTransport == .http ? .requests : .broadcast(backend.device == .cuda ? .cuda : .cpu),
        timeout: timeout)
    }
  }
}
