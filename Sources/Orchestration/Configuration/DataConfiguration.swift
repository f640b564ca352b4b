import Rollout

/// Which prompts are trained on, in which order, and for how long.
public struct DataConfiguration: Sendable, Equatable, Codable {
  /// A jsonl file; `path@[a:b]` takes a slice of its rows.
  public var promptData = ""
  public var inputKey = "input"
  public var labelKey: String?
  public var metadataKey = "metadata"
  public var toolKey = "tools"
  /// A JSON object: the column of pictures for `<image>` in prompts, under `image`; nil: prompts have none.
  public var multimodalKeys: String?
  public var applyChatTemplate = false
  /// A JSON object: extra variables of the chat template.
  public var chatTemplateArguments = "{}"
  /// Which tokens of a conversation a supervised loss trains on.
  public var lossMaskType = LossMaskType.qwen
  public var shuffle = false
  /// Seeds the data order and, where sampling is seeded, the samples.
  public var rolloutSeed = 42
  /// Rollouts in all; 0 only evaluates; nil: follows from `epochs`.
  public var rolloutCount: Int?
  public var epochs: Int?
  /// nil: where the loaded checkpoint ended.
  public var startRolloutID: Int?

  public init() {}
}
