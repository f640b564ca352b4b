import Foundation

/// The encoded bytes of pictures, from wherever prompts say they are.
public enum ImageSource {
  /// - Parameter text: a data URI, a file URL, the path of a file, or base64 alone.
  /// - Throws: `ImageError` naming what cannot be read.
  public static func data(_ text: String) throws(ImageError) -> Data {
    if text.hasPrefix("data:") { return try dataURI(text) }
    if text.hasPrefix("http://") || text.hasPrefix("https://") {
      throw ImageError("pictures from the web ('\(text.prefix(80))') are not fetched; send a data URI or the path of a file")
    }
    if text.hasPrefix("file://") {
      guard let path = URL(string: text)?.path, !path.isEmpty else { throw ImageError("'\(text)' is no file URL") }
      return try file(path)
    }
    // Base64 of a picture begins with its format's first bytes, and no path does.
    if text.utf8.count >= 64, let data = Data(base64Encoded: text, options: .ignoreUnknownCharacters),
      (try? ImageFormat(of: data)) != nil
    {
      return data
    }
    return try file(text)
  }

  private static func dataURI(_ text: String) throws(ImageError) -> Data {
    guard let comma = text.firstIndex(of: ","), text[..<comma].hasSuffix(";base64") else {
      throw ImageError("the data URI '\(text.prefix(40))…' is not of the form data:image/…;base64,…")
    }
    guard let data = Data(base64Encoded: String(text[text.index(after: comma)...]), options: .ignoreUnknownCharacters) else {
      throw ImageError("the data URI '\(text.prefix(40))…' holds no base64")
    }
    return data
  }

  private static func file(_ path: String) throws(ImageError) -> Data {
    do {
      return try Data(contentsOf: URL(fileURLWithPath: path))
    } catch {
      throw ImageError("the picture '\(path.prefix(200))' cannot be read: give a path or a file URL of one that exists, or a data URI")
    }
  }
}
