import Foundation

/// What one rollout hands to the trainers: values of all its samples, flat, without tensors.
///
/// Arrays over tokens hold the samples one after the other; `tokenRange` and `responseRange` say where each lies.
public struct TrainBatch: Sendable, Equatable {
  public var rolloutID: Int
  /// Prompt and response of each sample. `[Σ total lengths]`
  public var tokens: [Int32]
  public var totalLengths: [Int32]
  public var responseLengths: [Int32]
  /// 1 where a response token is trained on. `[Σ response lengths]`
  public var lossMasks: [UInt8]
  /// The rewards as they were given, and as advantages are made of them.
  public var rawRewards: [Float]
  public var rewards: [Float]
  /// Log-probabilities under the policy that sampled; nil when none are known. `[Σ response lengths]`
  public var rolloutLogProbs: [Float]?
  /// Log-probabilities under a teacher. `[Σ response lengths]`
  public var teacherLogProbs: [Float]?
  /// What the critic expected before it learned from this rollout (PPO). `[Σ response lengths]`
  public var values: [Float]?
  /// The experts of each layer that the engine sent each token but a sample's last to; nil when they are not known.
  /// `[Σ (total length − 1), layers, expertsPerToken]`
  public var routedExperts: [Int32]?
  /// The encoded pictures of each sample, in the order of the tokens that stand for them; nil: there are none.
  public var images: [[Data]]?
  public var groupIDs: [Int]
  /// Samples of one rollout (fan-out) share an id; they count as one in the loss.
  public var rolloutIDs: [Int]
  /// Trained tokens of each sample's whole rollout, the denominator of its loss.
  public var rolloutMaskSums: [Int32]
  public var sampleIndices: [Int]
  public var truncated: [Bool]
  /// The version of the weights that sampled each sample's last token.
  public var weightVersions: [String]

  /// An empty batch, to be filled.
  public init(rolloutID: Int) {
    self.rolloutID = rolloutID
    (tokens, totalLengths, responseLengths, lossMasks) = ([], [], [], [])
    (rawRewards, rewards, rolloutLogProbs, teacherLogProbs) = ([], [], nil, nil)
    (groupIDs, rolloutIDs, rolloutMaskSums, sampleIndices) = ([], [], [], [])
    (truncated, weightVersions) = ([], [])
  }

  public var count: Int { totalLengths.count }

  /// Where each sample lies in `tokens`.
  public var tokenRanges: [Range<Int>] { Self.ranges(totalLengths) }
  /// Where each sample lies in `lossMasks` and the log-probabilities.
  public var responseRanges: [Range<Int>] { Self.ranges(responseLengths) }

  /// Where each sample lies in `routedExperts`.
  var routedRanges: [Range<Int>] {
    let rows = Self.ranges(totalLengths.map { max($0 - 1, 0) })
    let width = (routedExperts?.count ?? 0) / max(rows.last?.upperBound ?? 0, 1)
    return rows.map { $0.lowerBound * width..<$0.upperBound * width }
  }

  private static func ranges(_ lengths: [Int32]) -> [Range<Int>] {
    var start = 0
    return lengths.map { length in
      defer { start += Int(length) }
      return start..<start + Int(length)
    }
  }

  /// These samples alone, in this order: what one rank needs of the batch.
  public func selecting(_ samples: [Int]) -> TrainBatch {
    let (tokenRanges, responseRanges) = (tokenRanges, responseRanges)
    var part = TrainBatch(rolloutID: rolloutID)
    part.tokens = samples.flatMap { tokens[tokenRanges[$0]] }
    part.lossMasks = samples.flatMap { lossMasks[responseRanges[$0]] }
    part.rolloutLogProbs = rolloutLogProbs.map { values in samples.flatMap { values[responseRanges[$0]] } }
    part.teacherLogProbs = teacherLogProbs.map { values in samples.flatMap { values[responseRanges[$0]] } }
    part.values = values.map { values in samples.flatMap { values[responseRanges[$0]] } }
    if let routedExperts {
      let routedRanges = routedRanges
      part.routedExperts = samples.flatMap { routedExperts[routedRanges[$0]] }
    }
    part.images = images.map { images in samples.map { images[$0] } }
    part.totalLengths = samples.map { totalLengths[$0] }
    part.responseLengths = samples.map { responseLengths[$0] }
    part.rawRewards = samples.map { rawRewards[$0] }
    part.rewards = samples.map { rewards[$0] }
    part.groupIDs = samples.map { groupIDs[$0] }
    part.rolloutIDs = samples.map { rolloutIDs[$0] }
    part.rolloutMaskSums = samples.map { rolloutMaskSums[$0] }
    part.sampleIndices = samples.map { sampleIndices[$0] }
    part.truncated = samples.map { truncated[$0] }
    part.weightVersions = samples.map { weightVersions[$0] }
    return part
  }
}

// Arrays over tokens travel as their bytes: an encoder that visits every number costs more than the rollout's bookkeeping.
extension TrainBatch: Codable {
  private enum CodingKeys: String, CodingKey {
    case rolloutID, tokens, totalLengths, responseLengths, lossMasks, rawRewards, rewards, rolloutLogProbs
    case teacherLogProbs, values, routedExperts, images, groupIDs, rolloutIDs, rolloutMaskSums, sampleIndices, truncated, weightVersions
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(rolloutID, forKey: .rolloutID)
    try container.encode(bytes(of: tokens), forKey: .tokens)
    try container.encode(bytes(of: totalLengths), forKey: .totalLengths)
    try container.encode(bytes(of: responseLengths), forKey: .responseLengths)
    try container.encode(Data(lossMasks), forKey: .lossMasks)
    try container.encode(bytes(of: rawRewards), forKey: .rawRewards)
    try container.encode(bytes(of: rewards), forKey: .rewards)
    try container.encodeIfPresent(rolloutLogProbs.map(bytes), forKey: .rolloutLogProbs)
    try container.encodeIfPresent(teacherLogProbs.map(bytes), forKey: .teacherLogProbs)
    try container.encodeIfPresent(values.map(bytes), forKey: .values)
    try container.encodeIfPresent(routedExperts.map(bytes), forKey: .routedExperts)
    try container.encodeIfPresent(images, forKey: .images)
    try container.encode(groupIDs, forKey: .groupIDs)
    try container.encode(rolloutIDs, forKey: .rolloutIDs)
    try container.encode(bytes(of: rolloutMaskSums), forKey: .rolloutMaskSums)
    try container.encode(sampleIndices, forKey: .sampleIndices)
    try container.encode(truncated, forKey: .truncated)
    try container.encode(weightVersions, forKey: .weightVersions)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func flat<Element: BitwiseCopyable>(_ key: CodingKeys) throws -> [Element] {
      array(of: try container.decode(Data.self, forKey: key))
    }
    func flatIfPresent<Element: BitwiseCopyable>(_ key: CodingKeys) throws -> [Element]? {
      try container.decodeIfPresent(Data.self, forKey: key).map(array)
    }
    rolloutID = try container.decode(Int.self, forKey: .rolloutID)
    tokens = try flat(.tokens)
    totalLengths = try flat(.totalLengths)
    responseLengths = try flat(.responseLengths)
    lossMasks = try flat(.lossMasks)
    rawRewards = try flat(.rawRewards)
    rewards = try flat(.rewards)
    rolloutLogProbs = try flatIfPresent(.rolloutLogProbs)
    teacherLogProbs = try flatIfPresent(.teacherLogProbs)
    values = try flatIfPresent(.values)
    routedExperts = try flatIfPresent(.routedExperts)
    images = try container.decodeIfPresent([[Data]].self, forKey: .images)
    groupIDs = try container.decode([Int].self, forKey: .groupIDs)
    rolloutIDs = try container.decode([Int].self, forKey: .rolloutIDs)
    rolloutMaskSums = try flat(.rolloutMaskSums)
    sampleIndices = try container.decode([Int].self, forKey: .sampleIndices)
    truncated = try container.decode([Bool].self, forKey: .truncated)
    weightVersions = try container.decode([String].self, forKey: .weightVersions)
  }
}

/// All machines that Swift runs on here are little-endian, so bytes are exchanged as they lie in memory.
func bytes<Element: BitwiseCopyable>(of values: [Element]) -> Data { values.withUnsafeBytes { Data($0) } }

package func array<Element: BitwiseCopyable>(of data: Data) -> [Element] {
  let count = data.count / MemoryLayout<Element>.stride
  return Array(unsafeUninitializedCapacity: count) { buffer, initialized in
    data.copyBytes(to: UnsafeMutableRawBufferPointer(buffer), count: count * MemoryLayout<Element>.stride)
    initialized = count
  }
}
