import Parallelism

/// The part of a model that one rank of a pipeline (one chunk of it, with virtual stages) holds.
public struct ModelStage: Sendable, Equatable, Codable {
  public let layers: Range<Int>
  public let holdsEmbedding: Bool
  /// Final norm and output layer.
  public let holdsHead: Bool

  public init(layers: Range<Int>, holdsEmbedding: Bool, holdsHead: Bool) {
    (self.layers, self.holdsEmbedding, self.holdsHead) = (layers, holdsEmbedding, holdsHead)
  }

  public static func whole(_ configuration: ModelConfiguration) -> ModelStage {
    ModelStage(layers: 0..<configuration.layerCount, holdsEmbedding: true, holdsHead: true)
  }

  func isWhole(of configuration: ModelConfiguration) -> Bool { self == .whole(configuration) }
}
