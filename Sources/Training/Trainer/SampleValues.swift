import Foundation

/// A critic's values of one sample's response tokens.
public struct SampleValues: Sendable, Equatable {
  /// Its place in the batch.
  public var sample: Int
  public var values: [Float]
}

extension TrainBatch {
  /// With a critic's values; zeros for samples that were not trained on.
  public func adding(_ values: [SampleValues]) -> TrainBatch {
    var batch = self
    let ranges = responseRanges
    var all = [Float](repeating: 0, count: lossMasks.count)
    for part in values { all.replaceSubrange(ranges[part.sample], with: part.values) }
    batch.values = all
    return batch
  }
}

// As a batch does, values travel as their bytes.
extension SampleValues: Codable {
  private enum CodingKeys: String, CodingKey {
    case sample, values
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(sample, forKey: .sample)
    try container.encode(bytes(of: values), forKey: .values)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    sample = try container.decode(Int.self, forKey: .sample)
    values = array(of: try container.decode(Data.self, forKey: .values))
  }
}
