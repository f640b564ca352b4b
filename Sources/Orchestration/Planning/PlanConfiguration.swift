import Training

/// `slime plan`: a command line of `slime train`, and where it is to run.
public struct PlanConfiguration: Sendable, Equatable, Codable {
  public var train = TrainConfiguration()
  public var gpu = PlannedGPU.h100
  /// Between machines, Gbit/s of each GPU.
  public var network = 400.0
  /// Tokens of an average sample, prompt and response; nil: the longest that the flags allow.
  public var averageTokens: Int?
  /// The one rank to plan; nil: the first of every stage.
  public var rank: Int?

  public init() { train.backend.device = .cuda }

  /// The rules of `slime train` that concern the trainers; nothing but config.json has to exist.
  public func validate() throws(ConfigurationError) {
    try require(
      !train.checkpoint.hfCheckpoint.isEmpty, "--hf-checkpoint is required: a folder with the model's config.json")
    for (flag, value) in [
      ("actor-num-nodes", train.cluster.actorNodes), ("actor-num-gpus-per-node", train.cluster.actorGPUsPerNode),
    ] {
      try require(value >= 1, "--\(flag) must be at least 1, not \(value)")
    }
    try train.backend.validate()
    try train.engine.validate(prefix: "sglang-")
    try require(network > 0, "--network must be above 0 Gbit/s, not \(network)")
    try require(averageTokens ?? 2 >= 2, "--average-tokens must be at least 2, not \(averageTokens ?? 0)")
    try require(
      train.resolvedGlobalBatchSize >= 1,
      "the size of a step is missing: give --global-batch-size, or --rollout-batch-size and --n-samples-per-prompt")
    if train.rollout.batchSize > 0 {
      try train.validateBatches()
    } else {
      try train.validateStep(train.resolvedGlobalBatchSize)
    }
    let world = train.cluster.trainerRanks
    try require(
      (0..<world).contains(rank ?? 0), "--rank \(rank ?? 0) is not one of the \(world) trainer ranks, counted from 0")
    try train.architecture.check(model: train.checkpoint.hfCheckpoint, flag: "hf-checkpoint")
  }
}

public enum PlannedGPU: String, Sendable, Codable, CaseIterable {
  case a100, h100, h200, b200

  var accelerator: Accelerator { Accelerator.known.first { $0.name == rawValue }! }
}
