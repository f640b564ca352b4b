import Checkpoints
import Foundation
import Synchronization
import TestSupport
import Testing
import WeightSync

@Suite struct DeltaTests {
  /// Bytes that differ in few elements, in all, or not at all, of every size of element.
  @Test(arguments: DeltaEncoding.allCases) func whatIsAppliedIsWhatWasEncoded(encoding: DeltaEncoding) throws {
    var random = SeededGenerator(state: 3)
    for round in 0..<400 {
      let size = [1, 2, 4, 8].randomElement(using: &random)!
      let old = (0..<size * Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      var new = old
      let share = [0, 0.05, 1].randomElement(using: &random)!
      for index in new.indices where Double.random(in: 0..<1, using: &random) < share {
        new[index] &+= UInt8.random(in: 0...3, using: &random)
      }
      let delta = old.withUnsafeBytes { old in new.withUnsafeBytes { encoding.encode(old, $0, elementSize: size) } }
      func apply(_ delta: [UInt8], _ to: [UInt8]) throws -> [UInt8] {
        try delta.withUnsafeBytes { delta in try to.withUnsafeBytes { try encoding.apply(delta, to: $0, elementSize: size) } }
      }
      #expect(try apply(delta, old) == new, "round \(round)")
      if encoding == .overwrite { #expect(try apply(delta, new) == new) }
      // Damage is an error or another result, never a crash.
      var damaged = delta
      if let index = damaged.indices.randomElement(using: &random) {
        damaged[index] ^= 1 << UInt8.random(in: 0..<8, using: &random)
      }
      _ = try? apply(damaged, old)
      _ = try? apply(Array(delta.dropLast()), old)
    }
    let zeros = [UInt8](repeating: 0, count: 1 << 16)
    #expect(ZeroRuns.compress(zeros, elementSize: 4).count < 8)
  }

  /// Python's `zlib.adler32` and `xxhash.xxh64` of the same bytes.
  @Test func checksums() {
    let bytes = Array("Wikipedia".utf8), long = [UInt8](repeating: 255, count: 20_000)
    #expect(bytes.withUnsafeBytes(DeltaChecksum.adler32.of) == "11e60398")
    #expect(long.withUnsafeBytes(DeltaChecksum.adler32.of) == "9f51d664")
    #expect([UInt8]().withUnsafeBytes(DeltaChecksum.xxh64.of) == "ef46db3751d8e999")
  }

  /// A place with versions of a small model and an engine's copy.
  private final class Place {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
    var source: URL { url.appendingPathComponent("source") }
    var local: URL { url.appendingPathComponent("local") }

    deinit { try? FileManager.default.removeItem(at: url) }

    /// Two tensors, of which only one changes from version to version.
    static func save(_ version: Int, to folder: URL) throws {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data("{}".utf8).write(to: folder.appendingPathComponent("config.json"))
      try SafetensorsWriter.write(
        to: folder.appendingPathComponent("model.safetensors"),
        tensors: [
          TensorSource(TensorSpecification(name: "a", dtype: .uint8, shape: [4]), bytes: [1, 2, 3, 4]),
          TensorSource(TensorSpecification(name: "b", dtype: .bfloat16, shape: [50]), bytes: (0..<100).map { UInt8($0 / 7 * version % 256) }),
        ])
    }

    func weights(_ folder: URL) throws -> Data { try Data(contentsOf: folder.appendingPathComponent("model.safetensors")) }

    func expected(_ version: Int) throws -> Data {
      let folder = url.appendingPathComponent("expected")
      try Self.save(version, to: folder)
      return try weights(folder)
    }
  }

  private final class Target: FolderWeightTarget {
    let loaded = Mutex<[(version: String, weights: Data)]>([])
    let fails = Mutex(false)

    let name = "the engine"
    func generatesWhileLoading() -> Bool { true }
    func loadWeights(from folder: URL, version: String) throws {
      if fails.withLock({ $0 }) { throw WeightSyncError("no") }
      let weights = try Data(contentsOf: folder.appendingPathComponent("model.safetensors"))
      loaded.withLock { $0.append((version, weights)) }
    }
    func pullWeights(into local: URL, from source: URL, version: Int) async throws {
      try await LocalCheckpoint(local).pull(from: source, version: version)
    }
  }

  @Test(arguments: DeltaEncoding.allCases) func versionsFollowOneAnother(encoding: DeltaEncoding) async throws {
    let (place, target) = (Place(), Target())
    let update = UpdateWeightFromDelta(
      targets: [target, target], folder: place.source, localFolder: place.local, encoding: encoding, checksum: .xxh64,
      keepsFiles: true
    ) { try Place.save(Self.saved.withLock { $0 }, to: $0) }
    func run(_ version: Int) async throws {
      Self.saved.withLock { $0 = version }
      try await update.update(version: version)
    }
    for version in [1, 2, 5] {
      try await run(version)
      let last = try #require(target.loaded.withLock { $0.last })
      #expect(try last == (String(version), place.expected(version)))
      // At most what says where each of 50 elements is, and the 2 bytes of each.
      #expect(await update.deltaBytes ?? 0 <= (encoding == .xor ? 100 : 4 + 50 * (4 + 2)))
    }
    #expect(await update.deltaBytes != nil)
    // An engine that comes late goes all the way from the whole version; one that is there already changes nothing.
    let late = place.url.appendingPathComponent("late")
    for _ in 0..<2 { try await LocalCheckpoint(late).pull(from: place.source, version: 5) }
    #expect(try place.weights(late) == place.expected(5))

    // After a failure comes a whole version.
    target.fails.withLock { $0 = true }
    let error = await #expect(throws: WeightSyncError.self) { try await run(6) }
    #expect(error?.description.contains("the engine failed at loading version 6 from") == true)
    target.fails.withLock { $0 = false }
    try await run(7)
    #expect(await update.deltaBytes == nil)
    #expect(try place.weights(place.local) == place.expected(7))
  }

  private static let saved = Mutex(0)

  @Test func whatDoesNotFitIsRefused() async throws {
    let place = Place()
    let versions = (0...3).map { place.url.appendingPathComponent("v\($0)") }
    for (version, folder) in versions.enumerated() { try Place.save(version, to: folder) }
    func published(_ version: Int) -> URL { place.source.appendingPathComponent(versionFolder(version)) }
    try FileManager.default.createDirectory(at: place.source, withIntermediateDirectories: true)
    try FileManager.default.copyItem(at: versions[0], to: published(0))
    try PublishedVersion(chain: "c", version: 0).write(to: published(0))
    for version in 1...3 {
      try writeDelta(
        from: versions[version - 1], to: versions[version], into: published(version),
        PublishedVersion(
          chain: "c", version: version, baseVersion: version - 1, deltaEncoding: .xor, compressionFormat: "zero-runs",
          checksumFormat: .adler32))
    }
    let copy = LocalCheckpoint(place.local)
    try await copy.pull(from: place.source, version: 1)
    // Version 2 is missing: 3 is out of order.
    let (aside, second) = (place.url.appendingPathComponent("aside"), published(2))
    try FileManager.default.moveItem(at: second, to: aside)
    let error = await #expect(throws: WeightSyncError.self) { try await copy.pull(from: place.source, version: 3) }
    #expect(try #require(error).description.contains("its version 1"))
    #expect(try place.weights(place.local) == place.weights(versions[1]))
    try FileManager.default.moveItem(at: aside, to: second)
    // A damaged delta changes nothing.
    let file = second.appendingPathComponent("delta-model.safetensors")
    let whole = try Data(contentsOf: file)
    try Data(whole.dropLast() + [whole.last! ^ 1]).write(to: file)
    await #expect(throws: WeightSyncError.self) { try await copy.pull(from: place.source, version: 2) }
    #expect(try place.weights(place.local) == place.weights(versions[1]))
    try whole.write(to: file)
    try await copy.pull(from: place.source, version: 3)
    #expect(try place.weights(place.local) == place.weights(versions[3]))
    // Back again is a new beginning, as is a copy that was left in the middle of a change.
    try await copy.pull(from: place.source, version: 2)
    #expect(try place.weights(place.local) == place.weights(versions[2]))
    try Data(#"{"chain":"c"}"#.utf8).write(to: place.local.appendingPathComponent(".weight_sync/state.json"))
    try Data().write(to: place.local.appendingPathComponent("model.safetensors"))
    try await copy.pull(from: place.source, version: 3)
    #expect(try place.weights(place.local) == place.weights(versions[3]))
    await #expect(throws: WeightSyncError.self) { try await copy.pull(from: place.source, version: 4) }
  }
}
