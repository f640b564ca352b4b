import Foundation

/// Where checked-in fixtures live: `Tests/Fixtures/<name>`.
public func fixture(_ name: String) -> URL { fixtures.appendingPathComponent(name) }

/// Beside the sources, or where the tests were carried to another machine, below the working directory.
private let fixtures: URL = {
  let built = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures")
  return FileManager.default.fileExists(atPath: built.path) ? built : URL(fileURLWithPath: "Tests/Fixtures")
}()

/// The names of all models in `Tests/Fixtures/models`, made by `Scripts/make_model_fixtures.py`: every family, with optional
/// parts on and off.
public let modelFixtures: [String] = {
  let names = try? FileManager.default.contentsOfDirectory(atPath: fixture("models").path)
  precondition(names?.isEmpty == false, "there are no model fixtures")
  return names!.sorted()
}()

/// Those in `Tests/Fixtures/vision`, made by `Scripts/make_vision_fixtures.py`: models that see pictures.
public let visionFixtures: [String] = {
  let names = try? FileManager.default.contentsOfDirectory(atPath: fixture("vision").path)
  precondition(names?.isEmpty == false, "there are no vision fixtures")
  return names!.sorted()
}()

/// A fresh folder that is removed when the closure returns.
public func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("slime-" + UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}
