/// Where weights come from and where they go.
public struct CheckpointConfiguration: Sendable, Equatable, Codable {
  /// A Hugging Face folder: config.json, tokenizer, and the weights to start from. Required.
  public var hfCheckpoint = ""
  /// What builds the model in the place of its family: a library, or the name of what the program registered.
  public var modelProvider: String?
  /// The reference policy; nil: `hfCheckpoint`.
  public var referenceLoad: String?
  /// Continues from the last checkpoint in this folder, if it holds one.
  public var load: String?
  /// The iteration to continue from; nil: the last.
  public var loadIteration: Int?
  public var loadsOptimizer = true
  /// Begins at rollout 0 with the loaded weights, and nothing else of the checkpoint.
  public var isFineTuned = false
  public var save: String?
  /// Rollouts between two checkpoints; nil: only the last.
  public var saveInterval: Int?
  /// Training goes on while a checkpoint is written.
  public var asyncSave = false
  public var savesOptimizer = true
  /// A Hugging Face folder beside each checkpoint; `{rollout_id}` is replaced.
  public var saveHF: String?

  public init() {}
}
