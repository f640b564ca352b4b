import Foundation
import Inference
import JSON

/// An engine that reads weights from a folder which it and the trainer see.
public protocol FolderWeightTarget: Sendable {
  /// Stops sampling, and forgets what was computed with older weights.
  func pauseForWeights() async throws
  func loadWeights(from folder: URL, version: String) async throws
  /// Brings the engine's own copy of a checkpoint to a version that is published in `source`, while it samples on.
  func pullWeights(into local: URL, from source: URL, version: Int) async throws
  func resumeAfterWeights() async throws
}

/// Moves a trainer's weights into engines through a folder that both see (`--update-weight-transport disk`): each version is
/// a whole Hugging Face checkpoint, written while the engines still generate.
public struct UpdateWeightFromDisk: Sendable {
  private let targets: [any FolderWeightTarget]
  private let folder: URL
  private let keepsFiles: Bool
  private let save: @Sendable (URL) async throws -> Void

  /// - Parameters:
  ///   - folder: where versions are published, by the same path for the engines.
  ///   - keepsFiles: whether a version's files stay once the engines have read them.
  ///   - save: writes the trainer's weights as a Hugging Face folder.
  public init(
    targets: [any FolderWeightTarget], folder: URL, keepsFiles: Bool = false,
    save: @escaping @Sendable (URL) async throws -> Void
  ) {
    (self.targets, self.folder, self.keepsFiles, self.save) = (targets, folder, keepsFiles, save)
  }

  public func update(version: Int) async throws {
    let place = folder.appendingPathComponent(versionFolder(version))
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try await save(place)
    defer { if !keepsFiles { try? FileManager.default.removeItem(at: place) } }
    try await targets.load(place, version: String(version))
  }
}

/// The folder of a version among those that are published.
package func versionFolder(_ version: Int) -> String {
  let digits = String(version)
  return "weight_v" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
}

extension [any FolderWeightTarget] {
  /// Engines that fail go on with their old weights.
  func load(_ folder: URL, version: String) async throws {
    try await forEach { try await $0.pauseForWeights() }
    do {
      try await forEach { try await $0.loadWeights(from: folder, version: version) }
    } catch {
      try? await forEach { try await $0.resumeAfterWeights() }
      throw error
    }
    try await forEach { try await $0.resumeAfterWeights() }
  }

  func forEach(_ body: @escaping @Sendable (any FolderWeightTarget) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for target in self { group.addTask { try await body(target) } }
      try await group.waitForAll()
    }
  }
}

extension RemoteEngine: FolderWeightTarget {
  public func pauseForWeights() async throws {
    try await post("/pause_generation", ["mode": .string(PauseMode.retract.rawValue)])
    try await flushCache()
  }

  public func loadWeights(from folder: URL, version: String) async throws {
    try await post("/update_weights_from_disk", ["model_path": .string(folder.path), "weight_version": .string(version)])
  }

  public func pullWeights(into local: URL, from source: URL, version: Int) async throws {
    try await post(
      "/pull_weights",
      ["local_checkpoint_dir": .string(local.path), "source_dir": .string(source.path), "target_version": .int(version)])
  }

  public func resumeAfterWeights() async throws { try await post("/continue_generation") }
}
