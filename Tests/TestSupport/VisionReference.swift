import Checkpoints
import Images
import Models
import Torch

/// Sequences with pictures in them, from a fixture.
public struct VisionReference {
  public struct Sequence {
    public let tokens: [Int]
    public let grids: [ImageGrid]
    /// Of all its pictures. `[patches, numbers of one]`
    public let patches: Tensor
  }

  public let sequences: [Sequence]

  /// - Parameter prefix: `prompt_`: those that were generated from.
  public init(_ file: SafetensorsFile, prefix: String = "") throws {
    let bounds: [Int] = try file.tensor(prefix + "cu_seqlens").array()
    let tokens: [Int] = try file.tensor(prefix.isEmpty ? "tokens" : "prompts").array()
    let counts: [Int] = try file.tensor(prefix + "image_counts").array()
    let numbers: [Int] = try file.tensor(prefix + "grids").array()
    let grids = stride(from: 0, to: numbers.count, by: 3).map {
      ImageGrid(time: numbers[$0], height: numbers[$0 + 1], width: numbers[$0 + 2])
    }
    let patches = try file.tensor(prefix + "patches")
    var (image, patch) = (0, 0)
    var sequences: [Sequence] = []
    for (index, count) in counts.enumerated() {
      let own = Array(grids[image..<image + count])
      let length = own.reduce(0) { $0 + $1.count }
      sequences.append(
        Sequence(
          tokens: Array(tokens[bounds[index]..<bounds[index + 1]]), grids: own,
          patches: patches.narrow(0, start: patch, length: length)))
      (image, patch) = (image + count, patch + length)
    }
    self.sequences = sequences
  }
}
