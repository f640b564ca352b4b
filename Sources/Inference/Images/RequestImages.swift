import Foundation
import Images
import Models
import Torch

/// The pictures of a request as the ranks of an engine need them. Only what each rank has made of them changes.
final class RequestImages: @unchecked Sendable {
  let positions: ImagePositions
  /// Which feature each token that stands for a part of a picture is given.
  let features: [Int: Int]
  private let prepared: PreparedImages
  private let lock = NSLock()
  private var made: [Int: VisionFeatures] = [:]

  /// - Throws: `ModelError` when the tokens, expanded, are not those of the pictures.
  init(_ prepared: PreparedImages, tokens: [Int], _ vision: VisionConfiguration) throws {
    self.prepared = prepared
    positions = try ImagePositions(tokens: tokens, grids: prepared.grids, vision)
    features = positions.featurePlaces
  }

  /// Where the last picture ends.
  var end: Int { positions.images.last?.upperBound ?? 0 }

  /// Features on a rank's device: kept until the last one was used, and made again where the prompt is run again.
  func features(_ model: CausalLM, isLast: Bool) -> VisionFeatures {
    let rank = model.parallel.tensor.rank
    let known = lock.withLock { made[rank] }
    let features = known ?? model.features(prepared.patches.to(device: model.parallel.device), grids: prepared.grids)
    lock.withLock { made[rank] = isLast ? nil : features }
    return features
  }
}

/// The pictures in a plan: positions of all its tokens, and which of them are given features.
struct PlanImages {
  /// `[3][T]`
  private(set) var axes: [[Int]] = [[], [], []]
  /// Of one request: tokens of the plan, and their features.
  private struct Part {
    let images: RequestImages
    var rows: [Int] = []
    var sources: [Int] = []
    let isLast: Bool
  }
  private var parts: [Part] = []

  /// - Parameter images: of each item's request.
  /// - Returns: nil: no request has pictures.
  init?(_ plan: BatchPlan, _ images: [RequestImages?]) {
    guard images.contains(where: { $0 != nil }) else { return nil }
    var row = 0
    for (item, images) in zip(plan.items, images) {
      var part = images.map { Part(images: $0, isLast: item.end >= $0.end) }
      for position in item.positions {
        for axis in 0..<3 { axes[axis].append(images?.positions.position(axis: axis, of: position) ?? position) }
        if let feature = images?.features[position] {
          part!.rows.append(row)
          part!.sources.append(feature)
        }
        row += 1
      }
      if let part, !part.rows.isEmpty { parts.append(part) }
    }
  }

  /// `[3, T]`, int64, on the host.
  var positions: Tensor { Tensor(axes.flatMap { $0 }).view([3, -1]) }

  /// nil: no token of the plan is part of a picture.
  func inputs(_ model: CausalLM) -> ImageInputs? {
    guard !parts.isEmpty else { return nil }
    let features = parts.map { $0.images.features(model, isLast: $0.isLast) }
    var (first, sources) = (0, [Int]())
    for (part, own) in zip(parts, features) {
      sources += part.sources.map { first + $0 }
      first += own.embeddings.size(0)
    }
    return ImageInputs(.features(VisionFeatures(joining: features)), rows: parts.flatMap(\.rows), sources: sources)
  }
}
