import Torch

/// What one rank wrote into a distributed checkpoint: the coordinator needs it from every rank, to write `.metadata`.
public struct RankContents: Codable, Hashable, Sendable {
  public let rank: Int
  /// In the order in which they were given.
  public let items: [WrittenItem]

  public init(rank: Int, items: [WrittenItem]) { (self.rank, self.items) = (rank, items) }
}

public struct WrittenItem: Codable, Hashable, Sendable {
  public enum Content: Codable, Hashable, Sendable {
    case shard(dtype: DType, globalShape: [Int], box: TensorBox)
    case object
  }

  public let name: String
  public let path: [StateDictKey]?
  public let content: Content
  /// CRC-32 of the bytes: replicas must agree in it.
  public let checksum: UInt32
  public let location: FileLocation

  public init(name: String, path: [StateDictKey]?, content: Content, checksum: UInt32, location: FileLocation) {
    (self.name, self.path, self.content, self.checksum, self.location) = (name, path, content, checksum, location)
  }
}
