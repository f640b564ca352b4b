import Foundation
import Inference
import JSON

/// Moves a trainer's weights into engines through a folder that both see (`--update-weight-transport disk`): each version is
/// a whole Hugging Face checkpoint, written while the engines still generate.
public struct UpdateWeightFromDisk: Sendable {
  private let engines: [RemoteEngine]
  private let folder: URL
  private let keepsFiles: Bool
  private let pauseMode: PauseMode
  private let save: @Sendable (URL) async throws -> Void

  /// - Parameters:
  ///   - engines: `http://host:port` of each.
  ///   - folder: where versions are published, by the same path for the engines.
  ///   - keepsFiles: whether a version's files stay once the engines have read them.
  ///   - save: writes the trainer's weights as a Hugging Face folder.
  public init(
    engines: [String], folder: URL, keepsFiles: Bool = false, pauseMode: PauseMode = .retract,
    timeout: Duration = .seconds(600), save: @escaping @Sendable (URL) async throws -> Void
  ) throws {
    self.engines = try engines.map { RemoteEngine(client: try HTTPClient($0), timeout: timeout) }
    (self.folder, self.keepsFiles, self.pauseMode, self.save) = (folder, keepsFiles, pauseMode, save)
  }

  public func update(version: Int) async throws {
    let digits = String(version)
    let name = "weight_v" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
    let place = folder.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try await save(place)
    defer { if !keepsFiles { try? FileManager.default.removeItem(at: place) } }
    try await forEachEngine { try await $0.post("/pause_generation", ["mode": .string(pauseMode.rawValue)]) }
    do {
      try await forEachEngine { engine in
        try await engine.flushCache()
        try await engine.post(
          "/update_weights_from_disk", ["model_path": .string(place.path), "weight_version": .string(digits)])
      }
    } catch {
      try? await forEachEngine { try await $0.post("/continue_generation") }
      throw error
    }
    try await forEachEngine { try await $0.post("/continue_generation") }
  }

  private func forEachEngine(_ body: @escaping @Sendable (RemoteEngine) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for engine in engines { group.addTask { try await body(engine) } }
      try await group.waitForAll()
    }
  }
}
