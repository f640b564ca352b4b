/// What an evaluation does differently from the rollout; whatever is nil is as there.
public struct EvaluationOverrides: Sendable, Equatable {
  public var temperature: Double?
  public var topP: Double?
  public var topK: Int?
  public var minNewTokens: Int?
  public var maxResponseLength: Int?
  public var maxContextLength: Int?
  public var stop: [String]?
  public var stopTokenIDs: [Int]?

  public init() {}

  public func applied(to rollout: RolloutSampling) -> RolloutSampling {
    var sampling = rollout
    sampling.temperature = temperature ?? rollout.temperature
    sampling.topP = topP ?? rollout.topP
    sampling.topK = topK ?? rollout.topK
    sampling.minNewTokens = minNewTokens ?? rollout.minNewTokens
    sampling.maxResponseLength = maxResponseLength ?? rollout.maxResponseLength
    sampling.maxContextLength = maxContextLength ?? rollout.maxContextLength
    sampling.stop = stop ?? rollout.stop
    sampling.stopTokenIDs = stopTokenIDs ?? rollout.stopTokenIDs
    return sampling
  }
}

/// A set of prompts with known answers, and how it is sampled.
public struct EvaluationDataset: Sendable {
  /// In metrics: `eval/{name}`.
  public var name: String
  public var dataset: PromptDataset
  public var samplesPerPrompt: Int
  public var sampling: RolloutSampling
  public var rewardKey: String?

  public init(
    name: String, dataset: PromptDataset, samplesPerPrompt: Int = 1, sampling: RolloutSampling, rewardKey: String? = nil
  ) {
    (self.name, self.dataset, self.samplesPerPrompt) = (name, dataset, samplesPerPrompt)
    (self.sampling, self.rewardKey) = (sampling, rewardKey)
  }

  /// The pairs of `--eval-prompt-data name path name path …`.
  /// - Throws: `DatasetError` when a name has no path, or comes twice.
  public static func pairs(_ arguments: [String]) throws(DatasetError) -> [(name: String, path: String)] {
    guard arguments.count % 2 == 0 else {
      throw DatasetError("--eval-prompt-data takes pairs of name and path; '\(arguments.last!)' has no partner")
    }
    var pairs: [(name: String, path: String)] = []
    for start in stride(from: 0, to: arguments.count, by: 2) {
      let (name, path) = (arguments[start], arguments[start + 1])
      guard !pairs.contains(where: { $0.name == name }) else {
        throw DatasetError("--eval-prompt-data names '\(name)' twice; metrics would mix")
      }
      pairs.append((name, path))
    }
    return pairs
  }
}
