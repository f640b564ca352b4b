/// What is evaluated and when. A nil takes the rollout's value.
public struct EvalConfiguration: Sendable, Equatable, Codable {
  /// Rollouts between two evaluations; nil: never.
  public var interval: Int?
  public var datasets: [EvalDataset] = []
  public var skipBeforeTraining = false
  public var samplesPerPrompt = 1
  public var inputKey: String?
  public var labelKey: String?
  public var toolKey: String?
  public var rewardKey: String?
  public var temperature: Double?
  public var topP: Double?
  public var topK: Int?
  public var maxContextLength: Int?
  public var maxPromptLength: Int?
  public var maxResponseLength: Int?
  public var minNewTokens: Int?

  public init() {}
}

public struct EvalDataset: Sendable, Equatable, Codable {
  /// What its metrics are called.
  public var name: String
  public var path: String

  public init(name: String, path: String) { (self.name, self.path) = (name, path) }
}
