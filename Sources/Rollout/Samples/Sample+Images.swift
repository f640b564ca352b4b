import Foundation
import Images

extension Sample {
  /// The bytes of the prompt's pictures.
  /// - Throws: `ImageError` naming one that cannot be read.
  func encodedImages() throws(ImageError) -> [Data] {
    var all: [Data] = []
    for image in images { all.append(try ImageSource.data(image)) }
    return all
  }
}
