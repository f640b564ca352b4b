import Torch

/// What a distributed checkpoint of PyTorch holds, and where: the contents of its file `.metadata`.
public struct TorchDistMetadata: Equatable, Sendable {
  public static let fileName = ".metadata"

  /// A tensor, cut into boxes that lie in the checkpoint's files.
  public struct TensorEntry: Equatable, Sendable {
    public let name: String
    /// PyTorch's name of the element type; `dtype` is nil where there are no tensors of it here.
    public let dtypeName: String
    /// The shape of the whole tensor.
    public let shape: [Int]
    public let shards: [Shard]

    public var dtype: DType? { DType(name: dtypeName) }
  }

  public struct Shard: Equatable, Sendable {
    public let box: TensorBox
    public let location: FileLocation
  }

  /// A pickled Python object.
  public struct ObjectEntry: Equatable, Sendable {
    public let name: String
    public let location: FileLocation
  }

  public enum Entry: Equatable, Sendable {
    case tensor(TensorEntry)
    case object(ObjectEntry)

    public var name: String {
      switch self {
      case .tensor(let tensor): tensor.name
      case .object(let object): object.name
      }
    }
  }

  /// In the order in which the checkpoint has them; each name once.
  public let entries: [Entry]
  /// Where in a nested state dictionary the entries lie, for readers that rebuild one; nil where nobody said so.
  public let paths: [String: [StateDictKey]]?
  /// The order of `paths` in the file.
  let pathOrder: [String]
  /// The order of files, and so of locations, in the file.
  let files: [String]
  /// The folder where it was first saved, and the number of that save: for people, not for readers.
  public let checkpointID: String?
  public let saveID: String?

  init(
    entries: [Entry], paths: [(name: String, path: [StateDictKey])]?, files: [String], checkpointID: String?,
    saveID: String?
  ) {
    (self.entries, self.files, self.checkpointID, self.saveID) = (entries, files, checkpointID, saveID)
    self.paths = paths.map { Dictionary($0.map { ($0.name, $0.path) }, uniquingKeysWith: { first, _ in first }) }
    pathOrder = paths?.map(\.name) ?? []
  }

  public var tensors: [TensorEntry] { entries.compactMap { if case .tensor(let tensor) = $0 { tensor } else { nil } } }
  public var objects: [ObjectEntry] { entries.compactMap { if case .object(let object) = $0 { object } else { nil } } }
}

/// Where an item's bytes lie: `length` bytes from `offset` of a file of the checkpoint's folder.
public struct FileLocation: Hashable, Sendable, Codable {
  public let file: String
  public let offset: Int
  public let length: Int

  public init(file: String, offset: Int, length: Int) { (self.file, self.offset, self.length) = (file, offset, length) }
}

/// One step into a nested state dictionary: a key, or the place in a list.
public enum StateDictKey: Hashable, Sendable, Codable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
  case key(String)
  case index(Int)

  public init(stringLiteral value: String) { self = .key(value) }
  public init(integerLiteral value: Int) { self = .index(value) }
}
