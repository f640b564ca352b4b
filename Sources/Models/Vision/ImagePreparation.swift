import Foundation
import Images
import Torch

extension VisionConfiguration {
  /// Reads the folder's preprocessor_config.json, if it has one.
  /// - Throws: `ImageError` or `ModelError` when it does not fit the tower.
  mutating func readProcessor(_ folder: URL) throws {
    guard let processor = try ImageProcessor(folder: folder) else { return }
    let (found, wanted) = (
      [processor.patchSize, processor.mergeSize, processor.temporalPatchSize], [patchSize, mergeSize, temporalPatchSize])
    guard found == wanted else {
      throw ModelError(
        "\(folder.path) has an image processor of patch_size, merge_size and temporal_patch_size \(found), but the vision tower of config.json takes \(wanted)")
    }
    self.processor = processor
  }
}

/// Pictures as the tower takes them, one after another.
public struct PreparedImages {
  /// `[patches, numbers of one]`, fp32, on the CPU.
  public let patches: Tensor
  public let grids: [ImageGrid]

  /// - Parameter images: some.
  init(_ images: [ProcessedImage]) {
    patches = images.count == 1 ? images[0].patches : Tensor.cat(images.map(\.patches), dim: 0)
    grids = images.map(\.grid)
  }
}

extension ModelConfiguration {
  /// - Parameter images: encoded, at least one.
  /// - Throws: `ImageError` about the first that cannot be used, `ModelError` when the model takes none.
  public func prepared(_ images: [Data]) throws -> PreparedImages {
    try PreparedImages(forEach(images) { processor, data in try processor(data) })
  }

  /// The patches that pictures will have, by their headers alone.
  /// - Throws: as `prepared`.
  public func imageGrids(_ images: [Data]) throws -> [ImageGrid] {
    try images.isEmpty ? [] : forEach(images) { processor, data in try processor.grid(data) }
  }

  private func forEach<Value>(_ images: [Data], _ body: (ImageProcessor, Data) throws -> Value) throws -> [Value] {
    guard let vision else {
      throw ModelError("a model of type \(modelType) takes no pictures, and \(images.count) were given; leave them out")
    }
    guard let processor = vision.processor else {
      throw ModelError("the model's folder has no \(ImageProcessor.fileName), which says how pictures are prepared; copy the model's")
    }
    return try images.enumerated().map { index, data in
      do { return try body(processor, data) } catch { throw ImageError("picture \(index): \(error)") }
    }
  }

  /// A prompt in which each token that stands for a whole picture is repeated for its parts; where it is already, it stays.
  /// - Throws: `ModelError` when there are not as many places as pictures.
  public func expandingImages(_ tokens: [Int], _ grids: [ImageGrid]) throws -> [Int] {
    guard let vision else { return tokens }
    var (expanded, place, image) = ([Int](), 0, 0)
    while place < tokens.count {
      guard tokens[place] == vision.imageToken else {
        expanded.append(tokens[place])
        place += 1
        continue
      }
      let run = tokens[place...].prefix { $0 == vision.imageToken }.count
      guard image < grids.count else {
        image += 1
        place += 1
        continue
      }
      let count = grids[image].count / vision.mergedCount
      expanded += Array(repeating: vision.imageToken, count: count)
      place += run >= count ? count : 1
      image += 1
    }
    guard image == grids.count else {
      throw ModelError("the prompt has places for \(image) pictures, but \(grids.count) are given; give as many")
    }
    return expanded
  }
}
