import Foundation
import JSON
import Torch

/// Brings pictures to what a vision tower takes: resized so that whole patches cover them, normalised, cut into patches.
/// `Qwen2VLImageProcessor` of `transformers`, whose preprocessor_config.json it reads.
public struct ImageProcessor: Sendable, Equatable {
  public static let fileName = "preprocessor_config.json"

  /// Pixels of a patch's side, patches of a merged one's, and frames of one patch.
  public var patchSize = 14
  public var mergeSize = 2
  public var temporalPatchSize = 2
  /// Bounds on a resized picture's pixels.
  public var pixels = 56 * 56...28 * 28 * 1280
  public var mean = [0.48145466, 0.4578275, 0.40821073]
  public var deviation = [0.26862954, 0.26130258, 0.27577711]
  public var rescaleFactor = 1 / 255.0

  public init() {}

  /// - Throws: `ImageError` naming a key whose value is not known.
  public init(_ config: JSONValue, source: String) throws(ImageError) {
    func require(_ key: String, _ isKnown: (JSONValue) -> Bool, _ known: String) throws(ImageError) {
      guard let value = config[key], !value.isNull, !isKnown(value) else { return }
      throw ImageError("\(source) has \(key) = \(value.text()); known is \(known)")
    }
    for key in ["do_resize", "do_rescale", "do_normalize", "do_convert_rgb"] {
      try require(key, { $0 == true }, "true")
    }
    try require("resample", { $0 == 3 }, "3 (bicubic)")
    func count(_ key: String, _ value: JSONValue?, _ fallback: Int) throws(ImageError) -> Int {
      guard let value, !value.isNull else { return fallback }
      guard let count = value.int, count > 0 else {
        throw ImageError("\(source) has \(key) = \(value.text()), but it must be a positive whole number")
      }
      return count
    }
    patchSize = try count("patch_size", config["patch_size"], patchSize)
    mergeSize = try count("merge_size", config["merge_size"], mergeSize)
    temporalPatchSize = try count("temporal_patch_size", config["temporal_patch_size"], temporalPatchSize)
    let size = config["size"]
    let least = try count("size.shortest_edge", size?["shortest_edge"], pixels.lowerBound)
    let most = try count("size.longest_edge", size?["longest_edge"], pixels.upperBound)
    let bounds = (try count("min_pixels", config["min_pixels"], least), try count("max_pixels", config["max_pixels"], most))
    guard bounds.0 <= bounds.1 else {
      throw ImageError("\(source) asks for at least \(bounds.0) and at most \(bounds.1) pixels")
    }
    pixels = bounds.0...bounds.1
    func numbers(_ key: String, _ fallback: [Double]) throws(ImageError) -> [Double] {
      guard let value = config[key], !value.isNull else { return fallback }
      guard let list = value.array?.compactMap(\.double), list.count == 3 else {
        throw ImageError("\(source) has \(key) = \(value.text()), but it must be three numbers")
      }
      return list
    }
    mean = try numbers("image_mean", mean)
    deviation = try numbers("image_std", deviation)
    if let factor = config["rescale_factor"]?.double { rescaleFactor = factor }
  }

  /// That of a model's folder: a file of its own, or a part of transformers 5's processor_config.json.
  /// - Returns: nil: it has none.
  /// - Throws: `ImageError` or `JSONError` when it cannot be read.
  public init?(folder: URL) throws {
    for (name, part) in [(Self.fileName, nil), ("processor_config.json", "image_processor")] {
      let file = folder.appendingPathComponent(name)
      guard FileManager.default.fileExists(atPath: file.path) else { continue }
      let json = try JSONValue(parsing: Data(contentsOf: file))
      guard let config = part.map({ json[$0] }) ?? json else { continue }
      try self.init(config, source: file.path)
      return
    }
    return nil
  }

  /// - Throws: `ImageError`: what is wrong with the picture.
  public func callAsFunction(_ data: Data) throws(ImageError) -> ProcessedImage {
    let decoded = try ImageDecoder.pixels(data)
    let (height, width) = (decoded.size(0), decoded.size(1))
    let size = try resizedSize(height: height, width: width)
    do {
      return try catchingTorchErrors {
        withoutGradients {
          // The memory stays as it was decoded, colour by colour within a pixel: libtorch's rounding depends on it.
          var pixels = decoded.permute([2, 0, 1]).contiguous().unsqueeze(0)
          if size != (height, width) {
            pixels = pixels.upsampleBicubic2dAa([size.height, size.width], alignCorners: false)
          }
          return ProcessedImage(patches: patches(normalized(pixels.squeeze(0))), grid: grid(size))
        }
      }
    } catch {
      throw ImageError("the picture of \(width) × \(height) pixels cannot be prepared: \(error)")
    }
  }

  /// The patches that a picture will have, by its header alone.
  /// - Throws: `ImageError`: what is wrong with it.
  public func grid(_ data: Data) throws(ImageError) -> ImageGrid {
    let size = try ImageDecoder.size(data)
    return grid(try resizedSize(height: size.height, width: size.width))
  }

  private func grid(_ size: (height: Int, width: Int)) -> ImageGrid {
    ImageGrid(time: 1, height: size.height / patchSize, width: size.width / patchSize)
  }

  /// Both sides multiples of a merged patch's, the pixels within bounds, the shape nearly as it was.
  func resizedSize(height: Int, width: Int) throws(ImageError) -> (height: Int, width: Int) {
    guard max(height, width) <= 200 * min(height, width) else {
      throw ImageError("a picture of \(width) × \(height) pixels is more than 200 times as long as wide; crop it")
    }
    let factor = patchSize * mergeSize
    let (h, w, unit) = (Double(height), Double(width), Double(factor))
    func multiple(_ side: Double, _ rule: FloatingPointRoundingRule) -> Int { Int((side / unit).rounded(rule)) * factor }
    let rounded = (multiple(h, .toNearestOrEven), multiple(w, .toNearestOrEven))
    if rounded.0 * rounded.1 > pixels.upperBound {
      let scale = (h * w / Double(pixels.upperBound)).squareRoot()
      return (max(factor, multiple(h / scale, .down)), max(factor, multiple(w / scale, .down)))
    }
    if rounded.0 * rounded.1 < pixels.lowerBound {
      let scale = (Double(pixels.lowerBound) / (h * w)).squareRoot()
      return (multiple(h * scale, .up), multiple(w * scale, .up))
    }
    return rounded
  }

  /// `[3, height, width]`, bytes → fp32
  private func normalized(_ pixels: Tensor) -> Tensor {
    func perColour(_ values: [Double]) -> Tensor {
      (Tensor(values.map { Float($0) }) * (1 / rescaleFactor)).view([3, 1, 1])
    }
    return (pixels.to(dtype: .float32) - perColour(mean)) / perColour(deviation)
  }

  /// `[3, height, width]` → `[patches, 3 · temporalPatchSize · patchSize²]`, those that are merged one after another.
  private func patches(_ pixels: Tensor) -> Tensor {
    let (rows, columns) = (pixels.size(1) / patchSize, pixels.size(2) / patchSize)
    let cut = pixels.view([
      3, rows / mergeSize, mergeSize, patchSize, columns / mergeSize, mergeSize, patchSize,
    ]).permute([1, 4, 2, 5, 0, 3, 6])
    // A picture is a film that stands still.
    let still = cut.unsqueeze(5)
    return Tensor.cat(Array(repeating: still, count: temporalPatchSize), dim: 5)
      .reshape([rows * columns, 3 * temporalPatchSize * patchSize * patchSize])
  }
}

/// How many patches a picture has, in time, height and width.
public struct ImageGrid: Sendable, Equatable, Hashable, Codable {
  public var time: Int
  public var height: Int
  public var width: Int

  public init(time: Int, height: Int, width: Int) { (self.time, self.height, self.width) = (time, height, width) }

  public var count: Int { time * height * width }
}

/// A picture as a vision tower takes it.
public struct ProcessedImage {
  /// `[patches, channels · frames · patchSize²]`, fp32
  public let patches: Tensor
  public let grid: ImageGrid

  public init(patches: Tensor, grid: ImageGrid) { (self.patches, self.grid) = (patches, grid) }
}
