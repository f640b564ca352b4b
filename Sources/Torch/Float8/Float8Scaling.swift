/// How the numbers of a matrix that is kept as e4m3 share the fp32 scales they are multiplied by.
public enum Float8Scaling: Sendable, Equatable, Codable {
  /// One scale for all.
  case tensor
  /// One a row: an output of a linear layer.
  case row
  /// One a block; the last blocks of rows and columns may be smaller.
  case block(rows: Int, columns: Int)

  /// As DeepSeek-V3 and the models after it are published.
  public static let publishedBlock = Float8Scaling.block(rows: 128, columns: 128)

  /// Numbers of a row that share a scale; nil: all.
  public var groupSize: Int? {
    if case .block(_, let columns) = self { columns } else { nil }
  }

  /// Scales that a row of `columns` numbers has.
  public func groupCount(_ columns: Int) -> Int { groupSize.map { (columns + $0 - 1) / $0 } ?? 1 }

  public var name: String {
    switch self {
    case .tensor: "a scale for each tensor"
    case .row: "a scale for each output"
    case .block(let rows, let columns): "a scale for each block of \(rows) x \(columns)"
    }
  }

  /// The shape of the scales in a checkpoint.
  public func storedShape(rows: Int, columns: Int) -> [Int] {
    switch self {
    case .tensor: [1]
    case .row: [rows, 1]
    case .block(let height, _): [(rows + height - 1) / height, groupCount(columns)]
    }
  }

  /// What the scales of a weight are called, after the weight's name.
  public var scaleSuffix: String { groupSize == nil ? Self.scaleSuffixes[1] : Self.scaleSuffixes[0] }

  /// Hugging Face's and DeepSeek's, and compressed-tensors'. Both multiply.
  public static let scaleSuffixes = ["_scale_inv", "_scale"]
}
