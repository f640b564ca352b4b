import Foundation
import Inference
import JSON

/// An engine that reads weights from a folder which it and the trainer see.
public protocol FolderWeightTarget: Sendable {
  /// What errors call it.
  var name: String { get }
  /// Whether it generates with the old weights while it reads new ones.
  func generatesWhileLoading() async throws -> Bool
  /// Changes to the weights of a folder, whole or not at all; requests in flight pause for that and go on.
  func loadWeights(from folder: URL, version: String) async throws
  /// Brings the engine's own copy of a checkpoint to a version that is published in `source`, while it samples on.
  func pullWeights(into local: URL, from source: URL, version: Int) async throws
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

  /// - Throws: what saving threw, or the engines if none is left.
  @discardableResult
  public func update(version: Int) async throws -> WeightUpdateReport {
    let start = ContinuousClock.now
    var report = WeightUpdateReport()
    let place = folder.appendingPathComponent(versionFolder(version))
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try await ContinuousClock.measure(into: &report.gatherTime) { try await save(place) }
    defer { if !keepsFiles { try? FileManager.default.removeItem(at: place) } }
    var fleet = Fleet(targets, name: \.name)
    try await ContinuousClock.measure(into: &report.sendTime) { try await fleet.load(place, version: String(version)) }
    report.failures = fleet.failures
    report.totalTime = (ContinuousClock.now - start) / .seconds(1)
    return report
  }
}

/// The folder of a version among those that are published.
package func versionFolder(_ version: Int) -> String {
  let digits = String(version)
  return "weight_v" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
}

extension Fleet<any FolderWeightTarget> {
  /// Engines that fail go on with their old weights. Where one cannot generate meanwhile, they take turns.
  mutating func load(_ folder: URL, version: String) async throws {
    var allGenerate = true
    for index in live {
      do { allGenerate = try await liveTarget(index).generatesWhileLoading() && allGenerate } catch {
        drop(index, "telling how it takes weights", error)
      }
    }
    try requireOne()
    try await forEach("loading version \(version) from \(folder.path)", rolling: !allGenerate) {
      try await $0.loadWeights(from: folder, version: version)
    }
  }
}

extension RemoteEngine: FolderWeightTarget {
  public func generatesWhileLoading() async throws -> Bool { try await stagesUpdates() }

  public func loadWeights(from folder: URL, version: String) async throws {
    var body: JSONObject = ["model_path": .string(folder.path), "weight_version": .string(version)]
    if try await stagesUpdates() {
      body["retract_requests"] = true
      try await post("/update_weights_from_disk", .object(body))
      return
    }
    try await pause(.retract)
    do {
      try await post("/update_weights_from_disk", .object(body))
    } catch {
      _ = try? await post("/continue_generation")
      throw error
    }
    try await post("/continue_generation")
  }

  public func pullWeights(into local: URL, from source: URL, version: Int) async throws {
    try await post(
      "/pull_weights",
      ["local_checkpoint_dir": .string(local.path), "source_dir": .string(source.path), "target_version": .int(version)])
  }
}
