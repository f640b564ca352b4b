import CTorch
import Foundation
import Torch

/// A picture as bytes of red, green and blue, `[height, width, 3]`; what is transparent lies on white.
struct DecodedImage {
  let pixels: Tensor

  /// Pictures of more pixels are taken for an attack, as Pillow does.
  private static let mostPixels: Int64 = 178_956_970

  /// - Throws: `ImageError`: what is wrong with the picture, or that libvips is missing.
  init(_ data: Data) throws(ImageError) {
    let format = try ImageFormat(of: data)
    let library = Runtime.libraryFolder.appendingPathComponent("../../pyvips_binary.libs/libvips-e42572c0.so.42").path
    do {
      pixels = try catchingTorchErrors {
        data.withUnsafeBytes { bytes in
          Tensor(owned: ct_decode_image(library, bytes.baseAddress, bytes.count, Self.mostPixels))
        }
      }
    } catch {
      throw ImageError("the \(format.rawValue) picture cannot be decoded: \(error)")
    }
  }
}
