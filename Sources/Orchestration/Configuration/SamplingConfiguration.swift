/// How many prompts are answered how often, and how responses are sampled and rewarded.
public struct SamplingConfiguration: Sendable, Equatable, Codable {
  /// Prompts a rollout trains on. Required.
  public var batchSize = 0
  public var samplesPerPrompt = 1
  /// Prompts sampled at a time; nil: `batchSize`. More than that only helps with a dynamic sampling filter.
  public var overSamplingBatchSize: Int?
  /// slime's name of a filter.
  public var dynamicSamplingFilter: String?
  /// Aborted responses are continued in the next rollout.
  public var partialRollout = false
  /// What was sampled before the continuation is not trained on.
  public var maskOffPolicy = false
  /// nil: follows from the loss.
  public var function: RolloutFunction?

  public var temperature = 1.0
  public var topP = 1.0
  /// -1 keeps the whole vocabulary.
  public var topK = -1
  /// Most tokens of prompt and response together; nil: the engine's context length.
  public var maxContextLength: Int?
  /// Longer prompts are left out of the data set; nil: one token less than the context.
  public var maxPromptLength: Int?
  /// nil: up to the context length.
  public var maxResponseLength: Int?
  public var stop: [String] = []
  public var stopTokenIDs: [Int] = []
  public var skipSpecialTokens = false

  public var rewardModelType: String?
  /// Which value of a reward that has several is learned from.
  public var rewardKey: String?

  public init() {}

  public var samplesPerRollout: Int { batchSize * samplesPerPrompt }
}

/// Named by the functions that they are in slime.
public enum RolloutFunction: String, Sendable, Codable, CaseIterable {
  case generate = "slime.rollout.sglang_rollout.generate_rollout"
  case supervised = "slime.rollout.sft_rollout.generate_rollout"
}
