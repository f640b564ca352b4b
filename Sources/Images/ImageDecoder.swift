import CTorch
import Foundation
import Torch

/// The decoder of pictures; what is transparent lies on white.
enum ImageDecoder {
  /// Pictures of more pixels are taken for an attack, as Pillow does.
  private static let mostPixels: Int64 = 178_956_970

  /// Bytes of red, green and blue. `[height, width, 3]`
  /// - Throws: `ImageError`: what is wrong with the picture, or that libvips is missing.
  static func pixels(_ data: Data) throws(ImageError) -> Tensor {
    try decoding(data) { Tensor(owned: ct_decode_image($0, $1.baseAddress, $1.count, mostPixels)) }
  }

  /// By the header alone.
  static func size(_ data: Data) throws(ImageError) -> (height: Int, width: Int) {
    let size = try decoding(data) { library, bytes in
      var size: [Int64] = [0, 0]
      _ = ct_image_size(library, bytes.baseAddress, bytes.count, mostPixels, &size)
      return size
    }
    return (Int(size[0]), Int(size[1]))
  }

  private static func decoding<Value>(
    _ data: Data, _ body: (_ library: String, UnsafeRawBufferPointer) -> Value
  ) throws(ImageError) -> Value {
    let format = try ImageFormat(of: data)
    let library = Runtime.libraryFolder.appendingPathComponent("../../pyvips_binary.libs/libvips-e42572c0.so.42").path
    do {
      return try catchingTorchErrors { data.withUnsafeBytes { body(library, $0) } }
    } catch {
      throw ImageError("the \(format.rawValue) picture cannot be decoded: \(error)")
    }
  }
}
