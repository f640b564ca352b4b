import Foundation

/// Moves a trainer's weights into engines as what changed since the last time (`--update-weight-mode delta`): a whole
/// checkpoint at first, then a delta for each version. Engines pull it into copies of their own while they still generate,
/// and read their copies.
///
/// After a failure the next version is whole again.
public actor UpdateWeightFromDelta {
  private let targets: [any FolderWeightTarget]
  private let folder: URL
  private let localFolder: URL
  private let encoding: DeltaEncoding
  private let checksum: DeltaChecksum
  private let keepsFiles: Bool
  private let save: @Sendable (URL) async throws -> Void
  /// The trainer's own copies.
  private let staging = FileManager.default.temporaryDirectory.appendingPathComponent("slime-weights-" + UUID().uuidString)
  private var chain = ""
  /// The newest that all engines have; nil: none.
  private var latest: Int?
  private var isBegun = false
  /// Bytes of what changed in the last version; nil where it was whole.
  public private(set) var deltaBytes: Int?

  /// - Parameters:
  ///   - folder: where versions are published, by the same path for the engines.
  ///   - localFolder: an engine's copy, on its own machine.
  ///   - save: writes the trainer's weights as a Hugging Face folder.
  public init(
    targets: [any FolderWeightTarget], folder: URL, localFolder: URL, encoding: DeltaEncoding, checksum: DeltaChecksum,
    keepsFiles: Bool = false, save: @escaping @Sendable (URL) async throws -> Void
  ) {
    (self.targets, self.folder, self.localFolder) = (targets, folder, localFolder)
    (self.encoding, self.checksum, self.keepsFiles, self.save) = (encoding, checksum, keepsFiles, save)
  }

  deinit { try? FileManager.default.removeItem(at: staging) }

  /// - Throws: what saving threw, or the engines if none is left.
  @discardableResult
  public func update(version: Int) async throws -> WeightUpdateReport {
    let start = ContinuousClock.now
    var report = WeightUpdateReport()
    let files = FileManager.default
    let (old, new) = (staging.appendingPathComponent("old"), staging.appendingPathComponent("new"))
    let place = folder.appendingPathComponent(versionFolder(version))
    if !isBegun { try removeOlderRuns() }
    isBegun = true
    try? files.removeItem(at: new)
    try? files.removeItem(at: place)
    try files.createDirectory(at: staging, withIntermediateDirectories: true)
    try await ContinuousClock.measure(into: &report.gatherTime) { try await save(new) }
    let base = latest
    latest = nil
    if let base {
      deltaBytes = try writeDelta(
        from: old, to: new, into: place,
        PublishedVersion(
          chain: chain, version: version, baseVersion: base, deltaEncoding: encoding,
          compressionFormat: compressionFormat(of: encoding), checksumFormat: checksum))
    } else {
      deltaBytes = nil
      chain = UUID().uuidString
      try files.copyItem(at: new, to: place)
      try PublishedVersion(chain: chain, version: version).write(to: place)
    }
    defer { if !keepsFiles { try? files.removeItem(at: place) } }
    var fleet = Fleet(targets, name: \.name)
    try await ContinuousClock.measure(into: &report.sendTime) {
      try await fleet.forEach("pulling version \(version)") { [localFolder, folder] in
        try await $0.pullWeights(into: localFolder, from: folder, version: version)
      }
      try await fleet.load(localFolder, version: String(version))
    }
    try? files.removeItem(at: old)
    try files.moveItem(at: new, to: old)
    // An engine that was left behind needs a whole version to begin from.
    if fleet.failures.isEmpty { latest = version }
    report.failures = fleet.failures
    report.totalTime = (ContinuousClock.now - start) / .seconds(1)
    return report
  }

  private func removeOlderRuns() throws {
    let files = FileManager.default
    try files.createDirectory(at: folder, withIntermediateDirectories: true)
    for name in try files.contentsOfDirectory(atPath: folder.path) where name.hasPrefix("weight_v") {
      let digits = name.dropFirst("weight_v".count)
      if !digits.isEmpty, digits.allSatisfy(\.isNumber) { try files.removeItem(at: folder.appendingPathComponent(name)) }
    }
  }
}
