import Images
import Models
import Torch

/// The pictures of a pack: patches of all, which tokens of this rank stand for their parts, and positions of three axes.
struct PackedImages {
  /// A sample's tokens, and its pictures; nil: it has none.
  struct Sequence {
    let tokens: [Int]
    let images: PreparedImages?
  }

  /// On the CPU until a pass needs them. `[patches, numbers of one]`
  private let patches: Tensor
  private let grids: [ImageGrid]
  private let rows: [Int]
  private let sources: [Int]
  /// `[3, T]`, int64
  private let axisPositions: Tensor

  /// - Parameters:
  ///   - lengths: tokens of each sequence on this rank; more than there are samples: padding.
  ///   - hostPositions: the place of each of this rank's tokens in its sequence.
  /// - Returns: nil: no sample has a picture.
  /// - Throws: `ModelError` when tokens and pictures do not fit each other.
  init?(_ sequences: [Sequence], model: ModelConfiguration, lengths: [Int], hostPositions: [Int]) throws {
    let images = sequences.compactMap(\.images)
    guard let vision = model.vision, !images.isEmpty else { return nil }
    patches = images.count == 1 ? images[0].patches : Tensor.cat(images.map(\.patches), dim: 0)
    grids = images.flatMap(\.grids)
    var axes: [[Int]] = [[], [], []]
    var (rows, sources) = ([Int](), [Int]())
    var (row, firstFeature) = (0, 0)
    for (sequence, length) in lengths.enumerated() {
      let sample = sequence < sequences.count ? sequences[sequence] : nil
      let positions = try ImagePositions(tokens: sample?.tokens ?? [], grids: sample?.images?.grids ?? [], vision)
      let features = positions.featurePlaces
      for place in hostPositions[row..<row + length] {
        for axis in 0..<3 { axes[axis].append(positions.position(axis: axis, of: place)) }
        if let feature = features[place] {
          rows.append(row)
          sources.append(firstFeature + feature)
        }
        row += 1
      }
      firstFeature += features.count
    }
    (self.rows, self.sources) = (rows, sources)
    axisPositions = Tensor(axes.flatMap { $0 }).view([3, row])
  }

  func positions(on device: Device) -> Tensor { axisPositions.to(device: device) }

  func inputs(on device: Device) -> ImageInputs {
    ImageInputs(.patches(patches.to(device: device), grids), rows: rows, sources: sources)
  }
}
