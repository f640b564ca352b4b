import Images
import Parallelism
import Torch

/// The pictures of a forward pass, and the tokens that stand for them.
public struct ImageInputs {
  public enum Content {
    /// Patches of whole pictures, one after another: the model runs its tower. `[patches, numbers of one]`
    case patches(Tensor, [ImageGrid])
    /// What the tower has made of them before.
    case features(VisionFeatures)
  }

  public let content: Content
  /// Tokens of the pass that stand for a part of a picture, and which of the features each is given.
  public let rows: [Int]
  public let sources: [Int]

  public init(_ content: Content, rows: [Int], sources: [Int]) {
    (self.content, self.rows, self.sources) = (content, rows, sources)
  }
}

/// Features in the order of the tokens that they are for.
struct PlacedFeatures {
  private let rows: Tensor
  private let features: VisionFeatures

  /// - Parameter tokenCount: of the whole pass; with sequence parallelism a rank holds its part of them.
  init?(_ images: ImageInputs, _ tower: VisionTower, tokenCount: Int, parallel: ParallelContext) {
    var own = 0..<tokenCount
    if parallel.sequenceParallel {
      let length = tokenCount / parallel.tensor.size
      own = parallel.tensor.rank * length..<(parallel.tensor.rank + 1) * length
    }
    let places = images.rows.indices.filter { own.contains(images.rows[$0]) }
    guard !places.isEmpty else { return nil }
    let all =
      switch images.content {
      case .patches(let patches, let grids): tower(patches, grids: grids)
      case .features(let features): features
      }
    let device = all.embeddings.device
    rows = Tensor(places.map { images.rows[$0] - own.lowerBound }).to(device: device)
    let index = Tensor(places.map { images.sources[$0] }).to(device: device)
    features = VisionFeatures(
      embeddings: all.embeddings.indexSelect(0, index: index), deepstack: all.deepstack.map { $0.indexSelect(0, index: index) })
  }

  var deepstackCount: Int { features.deepstack.count }

  /// Embeddings with the features in their places.
  func replacing(_ embeddings: Tensor) -> Tensor {
    embeddings.indexFill_(0, index: rows, value: 0).indexAdd(0, index: rows, source: features.embeddings.to(dtype: embeddings.dtype))
  }

  /// The output of one of the first layers with what is added to it.
  func added(to hidden: Tensor, afterLayer layer: Int) -> Tensor {
    hidden.indexAdd(0, index: rows, source: features.deepstack[layer].to(dtype: hidden.dtype))
  }
}
