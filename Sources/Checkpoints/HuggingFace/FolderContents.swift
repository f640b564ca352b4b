import Foundation
import JSON

/// Reads a JSON file that must hold an object.
func readObject(_ url: URL) throws -> JSONObject {
  let data: Data
  do { data = try Data(contentsOf: url) } catch {
    throw CheckpointError(url, "cannot read the file: \(error.localizedDescription)")
  }
  let value: JSONValue
  do { value = try JSONValue(parsing: data) } catch { throw CheckpointError(url, "\(error)") }
  guard let object = value.object else { throw CheckpointError(url, "the file holds \(value.kind), not a JSON object") }
  return object
}

/// The names in a folder, sorted; empty where there is no such folder.
func listing(of folder: URL) -> [String] {
  ((try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []).sorted()
}

func isFolder(_ url: URL) -> Bool {
  var isDirectory: ObjCBool = false
  return FileManager.default.fileExists(atPath: url.path, isDirectory: &isDirectory) && isDirectory.boolValue
}

/// A few names for an error message.
func sentence(_ names: [String], limit: Int = 8) -> String {
  if names.isEmpty { return "nothing" }
  let shown = names.prefix(limit).joined(separator: ", ")
  return names.count > limit ? "\(shown) and \(names.count - limit) more" : shown
}
