import Foundation
import JSON

/// The files of a checkpoint folder that belong to its tokenizer.
struct TokenizerFiles {
  let folder: URL

  func component(_ name: String) throws(TokenizerError) -> Component {
    guard let component = try optional(name) else {
      throw TokenizerError(file: folder.appendingPathComponent(name).path, message: "the file does not exist; a tokenizer needs it")
    }
    return component
  }

  func optional(_ name: String) throws(TokenizerError) -> Component? {
    let url = folder.appendingPathComponent(name)
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    do {
      let value = try JSONValue(parsing: Data(contentsOf: url))
      guard value.object != nil else { throw TokenizerError(file: url.path, message: "must hold an object, not \(value.kind)") }
      return Component(file: url.path, path: "", value: value)
    } catch let error as TokenizerError {
      throw error
    } catch {
      throw TokenizerError(file: url.path, message: "cannot be read: \(error)")
    }
  }

  func text(_ name: String) throws(TokenizerError) -> String? {
    let url = folder.appendingPathComponent(name)
    guard FileManager.default.fileExists(atPath: url.path) else { return nil }
    do { return try String(contentsOf: url, encoding: .utf8) } catch {
      throw TokenizerError(file: url.path, message: "cannot be read: \(error)")
    }
  }

  /// The names of the templates in additional_chat_templates/.
  func additionalTemplates() -> [String] {
    let names = try? FileManager.default.contentsOfDirectory(atPath: folder.appendingPathComponent("additional_chat_templates").path)
    return (names ?? []).filter { $0.hasSuffix(".jinja") }.map { String($0.dropLast(6)) }.sorted()
  }
}
