import Foundation

/// How a picture is encoded, by its first bytes.
public enum ImageFormat: String, Sendable {
  case png = "image/png"
  case jpeg = "image/jpeg"
  case webp = "image/webp"

  /// - Throws: `ImageError` when it is none of them.
  public init(of data: Data) throws(ImageError) {
    let head = [UInt8](data.prefix(12))
    if head.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]) {
      self = .png
    } else if head.starts(with: [0xFF, 0xD8, 0xFF]) {
      self = .jpeg
    } else if head.count == 12, head.starts(with: Array("RIFF".utf8)), head.suffix(4).elementsEqual("WEBP".utf8) {
      self = .webp
    } else {
      throw ImageError("the picture of \(data.count) bytes is neither PNG, JPEG nor WebP")
    }
  }
}
