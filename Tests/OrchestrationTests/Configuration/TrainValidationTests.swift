import Orchestration
import Rollout
import Testing

/// A configuration that is good, for each test to spoil.
private func good(_ change: (inout TrainConfiguration) -> Void = { _ in }) -> TrainConfiguration {
  var configuration = TrainConfiguration()
  configuration.checkpoint.hfCheckpoint = "model"
  configuration.data.promptData = "prompts.jsonl"
  configuration.data.rolloutCount = 2
  configuration.rollout.batchSize = 8
  configuration.rollout.samplesPerPrompt = 4
  change(&configuration)
  return configuration
}

private func sft(_ change: (inout TrainConfiguration) -> Void = { _ in }) -> TrainConfiguration {
  good {
    $0.algorithm.lossType = .supervised
    $0.rollout.samplesPerPrompt = 1
    change(&$0)
  }
}

/// A rule: what spoils a good configuration, and what the sentence has to name.
struct Rule: Sendable, CustomTestStringConvertible {
  var words: [String]
  var configuration: TrainConfiguration
  var testDescription: String { words.joined(separator: " … ") }

  init(_ words: String..., spoil: (inout TrainConfiguration) -> Void) {
    (self.words, configuration) = (words, good(spoil))
  }

  init(sft words: String..., spoil: (inout TrainConfiguration) -> Void) {
    (self.words, configuration) = (words, sft(spoil))
  }
}

@Suite struct TrainValidationTests {
  @Test func aGoodConfigurationPasses() throws {
    try good().validate()
    try sft().validate()
    try good {
      ($0.algorithm.advantageEstimator, $0.algorithm.gamma, $0.algorithm.klCoefficient) = (.ppo, 0.99, 0.1)
      (
        $0.critic.learningRate, $0.critic.warmupSteps, $0.critic.onlySteps, $0.critic.valueClip, $0.critic.lambda
      ) = (1e-5, 10, 1, 0.1, 0.95)
    }.validate()
    try good {
      ($0.distillation.isOn, $0.distillation.type, $0.distillation.teacherLoad) = (true, .megatron, "teacher")
      ($0.algorithm.keepsOldActor, $0.backend.updateWeightsInterval) = (true, 2)
      ($0.algorithm.referenceUpdateInterval, $0.algorithm.useKLLoss) = (5, true)
    }.validate()
  }

  @Test(arguments: required + loop + batches + parts + engines) func contradictionsAreNamed(_ rule: Rule) throws {
    let error = try #require(throws: ConfigurationError.self) { try rule.configuration.validate() }
    for word in rule.words { #expect(error.description.contains(word), "\(error)") }
    #expect(error.exitCode == 2)
  }

  @Test(arguments: algorithm + roles + optimizer + evaluation) func contradictionsOfTheAlgorithmAreNamed(_ rule: Rule) throws {
    let error = try #require(throws: ConfigurationError.self) { try rule.configuration.validate() }
    for word in rule.words { #expect(error.description.contains(word), "\(error)") }
  }

  static let required = [
    Rule("--hf-checkpoint is required") { $0.checkpoint.hfCheckpoint = "" },
    Rule("--prompt-data is required") { $0.data.promptData = "" },
    Rule("--rollout-batch-size is required") { $0.rollout.batchSize = 0 },
    Rule("--num-rollout", "--num-epoch") { $0.data.rolloutCount = nil },
    Rule("--num-rollout", "--num-epoch") { $0.data.epochs = 1 },
    Rule("--num-rollout must not") { $0.data.rolloutCount = -1 },
    Rule("--num-epoch must") { ($0.data.rolloutCount, $0.data.epochs) = (nil, 0) },
    Rule("--start-rollout-id") { $0.data.startRolloutID = -1 },
    Rule("--num-rollout 0", "--eval-interval") { $0.data.rolloutCount = 0 },
    Rule("--apply-chat-template-kwargs [1]", "object") {
      ($0.data.applyChatTemplate, $0.data.chatTemplateArguments) = (true, "[1]")
    },
    Rule("--apply-chat-template-kwargs", "add it") { $0.data.chatTemplateArguments = "{\"a\":1}" },
  ]

  static let loop = [
    Rule("--debug-rollout-only", "--debug-train-only") { ($0.debug.trainOnly, $0.debug.rolloutOnly) = (true, true) },
    Rule("--debug-rollout-only", "--load-debug-rollout-data") {
      ($0.debug.loadRolloutData, $0.debug.rolloutOnly) = ("a{rollout_id}", true)
    },
    Rule("--debug-train-only", "--load-debug-rollout-data PATH") { $0.debug.trainOnly = true },
    Rule("--save-debug-rollout-data", "leave it out") {
      ($0.debug.loadRolloutData, $0.debug.saveRolloutData) = ("a{rollout_id}", "b{rollout_id}")
    },
    Rule("--num-rollout", "--load-debug-rollout-data") {
      ($0.debug.loadRolloutData, $0.data.rolloutCount) = ("a{rollout_id}", nil)
    },
    Rule("--save-debug-rollout-data x", "{rollout_id}") { $0.debug.saveRolloutData = "x" },
    Rule("--load-debug-rollout-data x", "{rollout_id}") { $0.debug.loadRolloutData = "x" },
    Rule("--save-interval", "--save FOLDER") { $0.checkpoint.saveInterval = 1 },
    Rule("--save-interval", "at least 1") { ($0.checkpoint.saveInterval, $0.checkpoint.save) = (0, "out") },
    Rule("--save-hf x", "{rollout_id}") { $0.checkpoint.saveHF = "x" },
    Rule("--ref-load other", "--use-kl-loss") { $0.checkpoint.referenceLoad = "other" },
    Rule("--sglang-server-concurrency") { $0.serverConcurrency = 0 },
    Rule("--deterministic-mode", "--context-parallel-size 2") {
      ($0.backend.isDeterministic, $0.backend.parallel.contextParallelSize, $0.cluster.actorGPUsPerNode) = (true, 2, 2)
    },
    Rule("--deterministic-mode", "sdpa", "--attn-implementation") {
      ($0.backend.isDeterministic, $0.backend.attention) = (true, .sdpa)
    },
    Rule(sft: "--load-debug-rollout-data", "sft_loss") { $0.debug.loadRolloutData = "a{rollout_id}" },
    Rule(sft: "--debug-rollout-only", "sft_loss") { $0.debug.rolloutOnly = true },
  ]

  static let batches = [
    Rule("--num-steps-per-rollout 3", "32") { $0.stepsPerRollout = 3 },
    Rule("--num-steps-per-rollout", "at least 1") { $0.stepsPerRollout = 0 },
    Rule("--global-batch-size 8", "--num-steps-per-rollout 2", "16 each") { ($0.globalBatchSize, $0.stepsPerRollout) = (8, 2) },
    Rule("--global-batch-size 5", "2 samples") { $0.globalBatchSize = 5 },
    Rule("--global-batch-size", "at least 1") { $0.globalBatchSize = 0 },
    Rule("--global-batch-size 2", "4 data-parallel ranks") { ($0.globalBatchSize, $0.cluster.actorGPUsPerNode) = (2, 4) },
    Rule("--micro-batch-size 3", "= 3") { $0.backend.microBatchSize = 3 },
    Rule("--use-dynamic-batch-size needs --max-tokens-per-gpu") { $0.backend.useDynamicBatchSize = true },
    Rule("--max-tokens-per-gpu has no effect") { $0.backend.maxTokensPerGPU = 100 },
    Rule("--micro-batch-size has no effect") {
      ($0.backend.useDynamicBatchSize, $0.backend.maxTokensPerGPU, $0.backend.microBatchSize) = (true, 100, 2)
    },
  ]

  static let parts = [
    Rule("--sequence-parallel has no effect with --tensor-model-parallel-size 1") { $0.backend.parallel.sequenceParallel = true },
    Rule("belong to --train-backend megatron") {
      ($0.backend.trainBackend, $0.backend.parallel.tensorParallelSize) = (.fsdp, 2)
    },
    Rule("1 trainer ranks cannot be divided into groups of 4") {
      ($0.backend.parallel.tensorParallelSize, $0.backend.parallel.contextParallelSize) = (2, 2)
    },
    Rule("--recompute-granularity full needs --recompute-method") { $0.backend.parallel.recomputeGranularity = .full },
    Rule("have no effect without --recompute-granularity full") { $0.backend.parallel.recomputeLayers = 2 },
    Rule("--gradient-checkpointing belongs to --train-backend fsdp") { $0.backend.gradientCheckpointing = true },
    Rule("--async-save and --no-save-optim have no effect without --save") {
      ($0.checkpoint.save, $0.checkpoint.saveInterval, $0.checkpoint.asyncSave) = (nil, nil, true)
    },
    Rule("--max-tokens-per-gpu", "at least 1") { ($0.backend.useDynamicBatchSize, $0.backend.maxTokensPerGPU) = (true, 0) },
    Rule("--micro-batch-size", "at least 1") { $0.backend.microBatchSize = 0 },
    Rule("--update-weight-buffer-size") { $0.backend.updateWeightBufferSize = 0 },
    Rule("--update-weights-interval") { $0.backend.updateWeightsInterval = 0 },
    Rule("--actor-num-nodes 2 is not supported") { $0.cluster.actorNodes = 2 },
    Rule("--actor-num-gpus-per-node", "at least 1") { $0.cluster.actorGPUsPerNode = 0 },
    Rule("--rollout-num-gpus 3", "multiple of --rollout-num-gpus-per-engine 2") {
      ($0.cluster.rolloutGPUsPerEngine, $0.cluster.rolloutGPUs) = (2, 3)
    },
    Rule("--sglang-dp-size 3", "which is 2 engines") {
      ($0.cluster.rolloutGPUsPerEngine, $0.cluster.rolloutGPUs, $0.cluster.engines) = (2, 4, 3)
    },
    Rule("--sglang-speculative-draft-model-path", "STANDALONE") { $0.engine.speculation = .standalone },
    Rule("--sglang-speculative-draft-model-path", "NEXTN") {
      ($0.engine.speculation, $0.engine.draftModel) = (.nextN, "head")
    },
    Rule("--sglang-speculative-algorithm EAGLE3 needs") { $0.engine.speculation = .eagle3 },
    Rule("--sglang-speculative-eagle-topk 4", "--sglang-speculative-num-steps") {
      ($0.engine.speculation, $0.engine.speculativeBranches) = (.nextN, 4)
    },
    Rule("--sglang-speculative-num-draft-tokens 30", "which is 21") {
      ($0.engine.speculation, $0.engine.speculativeBranches, $0.engine.speculativeSteps) = (.nextN, 4, 2)
      $0.engine.draftTokens = 30
    },
    Rule("--sglang-speculative-num-steps", "NGRAM") { ($0.engine.speculation, $0.engine.speculativeSteps) = (.ngram, 2) },
    Rule("--sglang-speculative-eagle-topk 2") { ($0.engine.speculation, $0.engine.speculativeBranches) = (.ngram, 2) },
    Rule("have no effect without --sglang-speculative-algorithm") { $0.engine.draftTokens = 6 },
    Rule("--ckpt-step", "--load") { $0.checkpoint.loadIteration = 3 },
    Rule("--rollout-num-gpus 0") { $0.cluster.rolloutGPUs = 0 },
    Rule("--offload-train", "--colocate --device cuda") { ($0.cluster.offloadsTrainer, $0.cluster.colocate) = (true, true) },
    Rule("--offload-rollout", "--colocate --device cuda") { ($0.cluster.offloadsEngines, $0.backend.device) = (true, .cuda) },
    Rule("--rollout-num-gpus 2", "--colocate") { ($0.cluster.rolloutGPUs, $0.cluster.colocate) = (2, true) },
    Rule("--distributed-backend nccl", "gloo") { $0.cluster.distributedBackend = .nccl },
    Rule("--distributed-timeout-minutes") { $0.cluster.distributedTimeoutMinutes = 0 },
    Rule("--n-samples-per-prompt", "at least 1") { $0.rollout.samplesPerPrompt = 0 },
    Rule("--rollout-temperature", "above 0") { $0.rollout.temperature = 0 },
    Rule("--rollout-top-p") { $0.rollout.topP = 0 },
    Rule("--rollout-top-k") { $0.rollout.topK = 0 },
    Rule("--rollout-max-response-len") { $0.rollout.maxResponseLength = 0 },
    Rule("--rollout-max-prompt-len 8", "--rollout-max-context-len 8") {
      ($0.rollout.maxPromptLength, $0.rollout.maxContextLength) = (8, 8)
    },
    Rule("--over-sampling-batch-size 4", "--rollout-batch-size 8") { $0.rollout.overSamplingBatchSize = 4 },
    Rule("--rollout-function-path", "sft_loss") { $0.rollout.function = .supervised },
    Rule(sft: "--rollout-function-path", "policy_loss") { $0.rollout.function = .generate },
    Rule(sft: "--n-samples-per-prompt", "sft_loss") { $0.rollout.samplesPerPrompt = 2 },
    Rule(sft: "--over-sampling-batch-size", "sft_loss") { $0.rollout.overSamplingBatchSize = 16 },
    Rule(sft: "--dynamic-sampling-filter-path", "sft_loss") { $0.rollout.dynamicSamplingFilter = "x" },
    Rule("--dynamic-sampling-filter-path x", "check_reward_nonzero_std") { $0.rollout.dynamicSamplingFilter = "x" },
    Rule("--loss-mask-type", "sft_loss") { $0.data.lossMaskType = .qwen3 },
    Rule("--mask-offpolicy-in-partial-rollout", "--partial-rollout") { $0.rollout.maskOffPolicy = true },
    Rule(sft: "--partial-rollout", "sft_loss") { $0.rollout.partialRollout = true },
    Rule(sft: "--rm-type", "sft_loss") { $0.rollout.rewardModelType = "math" },
    Rule("--sglang-page-size") { $0.engine.pageSize = 0 },
    Rule("--sglang-mem-fraction-static") { $0.engine.memFractionStatic = 1 },
  ]

  static let algorithm = [
    Rule("--kl-coef", "grpo", "--use-kl-loss --kl-loss-coef 0.1") { $0.algorithm.klCoefficient = 0.1 },
    Rule("--kl-loss-coef", "--use-kl-loss") { $0.algorithm.klLossCoefficient = 0.1 },
    Rule("--kl-loss-type", "--use-kl-loss") { $0.algorithm.klLossType = .k3 },
    Rule("--use-tis", "--use-rollout-logprobs") { ($0.algorithm.useTIS, $0.algorithm.useRolloutLogProbs) = (true, true) },
    Rule("--tis-clip has no effect") { $0.algorithm.tisClip = 3 },
    Rule("--tis-clip-low has no effect") { $0.algorithm.tisClipLow = 0.5 },
    Rule("--tis-clip-low", "--tis-clip 2.0") { ($0.algorithm.useTIS, $0.algorithm.tisClipLow) = (true, 3) },
    Rule("--mtp-loss-scaling-factor has no effect") { $0.algorithm.predictionLossScale = 0.1 },
    Rule("--mtp-loss-scaling-factor must") {
      ($0.algorithm.trainsPredictionLayers, $0.algorithm.predictionLossScale) = (true, 0)
    },
    Rule("--eps-clip must") { $0.algorithm.clip = -1 },
    Rule("--eps-clip-high") { $0.algorithm.clipHigh = -1 },
    Rule("--eps-clip-c", "above 1") { $0.algorithm.clipDual = 1 },
    Rule("--eps-clip-c", "cispo") { ($0.algorithm.clipDual, $0.algorithm.advantageEstimator) = (3, .cispo) },
    Rule("--gamma has no effect") { $0.algorithm.gamma = 0.9 },
    Rule("--gamma must") {
      ($0.algorithm.gamma, $0.algorithm.advantageEstimator, $0.algorithm.normalizeAdvantages) = (2, .reinforcePlusPlus, true)
    },
    Rule("reinforce_plus_plus", "--normalize-advantages") { $0.algorithm.advantageEstimator = .reinforcePlusPlus },
    Rule("--disable-rewards-normalization", "reinforce_plus_plus") {
      ($0.algorithm.advantageEstimator, $0.algorithm.normalizeAdvantages) = (.reinforcePlusPlus, true)
      $0.algorithm.normalizeRewards = false
    },
    Rule("--disable-grpo-std-normalization", "--disable-rewards-normalization") {
      ($0.algorithm.normalizeRewards, $0.algorithm.normalizeRewardsByDeviation) = (false, false)
    },
    Rule("--disable-compute-advantages-and-returns", "policy_loss") { $0.algorithm.computesAdvantages = false },
    Rule(sft: "--use-kl-loss", "sft_loss") { $0.algorithm.useKLLoss = true },
    Rule(sft: "--advantage-estimator", "sft_loss") { $0.algorithm.advantageEstimator = .gspo },
    Rule(sft: "--eps-clip-c", "sft_loss") { $0.algorithm.clipDual = 3 },
    Rule(sft: "--entropy-coef", "sft_loss") { $0.algorithm.entropyCoefficient = 0.1 },
  ]

  /// Of the critic, the teacher, the reference and the old actor.
  static let roles = [
    Rule("--critic-…", "no effect without --advantage-estimator ppo") { $0.critic.learningRate = 1e-5 },
    Rule("--value-clip", "no effect without --advantage-estimator ppo") { $0.critic.valueClip = 0.3 },
    ppo("--value-clip must be above 0") { $0.critic.valueClip = 0 },
    ppo("--lambd must be between") { $0.critic.lambda = 1.5 },
    ppo("--critic-lr must not") { $0.critic.learningRate = -1 },
    ppo("--min-lr 1e-05", "above --critic-lr") {
      ($0.optimizer.decayStyle, $0.optimizer.learningRate, $0.optimizer.minLearningRate) = (.linear, 1e-4, 1e-5)
      $0.critic.learningRate = 1e-6
    },
    ppo("--critic-lr-warmup-iters") { $0.critic.warmupSteps = -1 },
    ppo("--num-critic-only-steps") { $0.critic.onlySteps = -1 },
    ppo("--critic-num-nodes 2 is not supported yet") { $0.critic.nodes = 2 },
    ppo("--critic-num-gpus-per-node 2", "the actor's 1 devices") { $0.critic.gpusPerNode = 2 },
    ppo("--critic-num-gpus-per-node must") { $0.critic.gpusPerNode = 0 },
    ppo("--critic-save has no effect without --save") { $0.critic.save = "critic" },
    ppo("--critic-save is the folder of --save") { ($0.critic.save, $0.checkpoint.save) = ("runs", "runs") },
    ppo("--disable-rewards-normalization has no effect with --advantage-estimator ppo") { $0.algorithm.normalizeRewards = false },
    ppo("--disable-grpo-std-normalization", "ppo") { $0.algorithm.normalizeRewardsByDeviation = false },
    Rule(sft: "--critic-…", "no effect") { $0.critic.onlySteps = 1 },
    Rule("--opd-kl-coef", "no effect without --use-opd") { $0.distillation.coefficient = 2 },
    Rule("--use-opd needs --opd-type megatron") { $0.distillation.isOn = true },
    Rule("--opd-type sglang is not supported yet", "--opd-type megatron") {
      ($0.distillation.isOn, $0.distillation.type) = (true, .sglang)
    },
    Rule("needs --opd-teacher-load FOLDER") { ($0.distillation.isOn, $0.distillation.type) = (true, .megatron) },
    Rule("--opd-kl-coef must not") {
      ($0.distillation.isOn, $0.distillation.type, $0.distillation.teacherLoad) = (true, .megatron, "teacher")
      $0.distillation.coefficient = -1
    },
    Rule(sft: "--use-opd has no effect on --loss-type sft_loss") { $0.distillation.isOn = true },
    Rule("--keep-old-actor has no effect", "--update-weights-interval above 1") { $0.algorithm.keepsOldActor = true },
    Rule("--keep-old-actor and --use-rollout-logprobs") {
      ($0.algorithm.keepsOldActor, $0.algorithm.useRolloutLogProbs, $0.backend.updateWeightsInterval) = (true, true, 2)
    },
    Rule("--use-routing-replay", "--keep-old-actor") {
      ($0.algorithm.keepsOldActor, $0.backend.parallel.routingReplay, $0.backend.updateWeightsInterval) = (true, true, 2)
    },
    Rule(sft: "--keep-old-actor has no effect") { $0.algorithm.keepsOldActor = true },
    Rule("--ref-update-interval has no effect without") { $0.algorithm.referenceUpdateInterval = 2 },
    Rule("--ref-update-interval must") { ($0.algorithm.referenceUpdateInterval, $0.algorithm.useKLLoss) = (0, true) },
    Rule("--save-interval 3 is no multiple of --ref-update-interval 2") {
      ($0.algorithm.referenceUpdateInterval, $0.algorithm.useKLLoss) = (2, true)
      ($0.checkpoint.save, $0.checkpoint.saveInterval) = ("runs", 3)
    },
  ]

  private static func ppo(_ words: String..., spoil: (inout TrainConfiguration) -> Void) -> Rule {
    var rule = Rule("") {
      $0.algorithm.advantageEstimator = .ppo
      spoil(&$0)
    }
    rule.words = words
    return rule
  }

  static let optimizer = [
    Rule("--lr must") { $0.optimizer.learningRate = -1 },
    Rule("--min-lr must") { ($0.optimizer.minLearningRate, $0.optimizer.decayStyle) = (1, .cosine) },
    Rule("--min-lr has no effect") { $0.optimizer.minLearningRate = 1e-7 },
    Rule("--lr-warmup-init must") { $0.optimizer.warmupInit = 1 },
    Rule("--lr-warmup-init has no effect") { $0.optimizer.warmupInit = 1e-7 },
    Rule("--lr-warmup-iters") { $0.optimizer.warmupSteps = -1 },
    Rule("--lr-warmup-fraction must") { $0.optimizer.warmupFraction = 1 },
    Rule("--lr-warmup-fraction", "--lr-warmup-iters") { ($0.optimizer.warmupFraction, $0.optimizer.warmupSteps) = (0.1, 1) },
    Rule("--lr-decay-iters") { $0.optimizer.decaySteps = 0 },
    Rule("WSD", "--lr-wsd-decay-iters") { $0.optimizer.decayStyle = .warmupStableDecay },
    Rule("WSD", "--lr-wsd-decay-iters") { $0.optimizer.wsdDecaySteps = 1 },
    Rule("--adam-beta1") { $0.optimizer.beta1 = 1 },
    Rule("--adam-beta2") { $0.optimizer.beta2 = -0.1 },
    Rule("--main-grads-dtype", "--use-precision-aware-optimizer") { $0.optimizer.gradientType = .bfloat16 },
    Rule("--exp-avg-sq-dtype", "--use-precision-aware-optimizer") { $0.optimizer.secondMomentType = .bfloat16 },
    Rule("--use-precision-aware-optimizer", "float32", "--dtype bfloat16") { $0.optimizer.isPrecisionAware = true },
    Rule("--accumulate-allreduce-grads-in-fp32", "--main-grads-dtype bf16") {
      ($0.optimizer.isPrecisionAware, $0.backend.dtype) = (true, .bfloat16)
      ($0.optimizer.gradientType, $0.optimizer.accumulatesInFloat32) = (.bfloat16, true)
    },
    Rule("--adam-eps") { $0.optimizer.epsilon = 0 },
    Rule("--weight-decay") { $0.optimizer.weightDecay = -1 },
    Rule("--clip-grad") { $0.optimizer.clipGradient = -1 },
  ]

  static let evaluation = [
    Rule("--eval-interval", "--eval-prompt-data NAME PATH") { $0.eval.interval = 1 },
    Rule("--eval-prompt-data", "--eval-interval N") { $0.eval.datasets = [EvalDataset(name: "a", path: "b")] },
    Rule("--eval-interval", "at least 1") { evaluate(&$0); $0.eval.interval = 0 },
    Rule("--n-samples-per-eval-prompt") { evaluate(&$0); $0.eval.samplesPerPrompt = 0 },
    Rule("--eval-temperature") { evaluate(&$0); $0.eval.temperature = -1 },
    Rule("--eval-top-p") { evaluate(&$0); $0.eval.topP = 2 },
    Rule("--eval-top-k") { evaluate(&$0); $0.eval.topK = 0 },
    Rule(sft: "--eval-interval", "engine") { evaluate(&$0) },
  ]

  private static func evaluate(_ configuration: inout TrainConfiguration) {
    configuration.eval.interval = 1
    configuration.eval.datasets = [EvalDataset(name: "a", path: "b")]
  }
}

@Suite struct DerivedQuantityTests {
  @Test func batchSizesFollowFromEachOther() {
    #expect(good().resolvedGlobalBatchSize == 32)
    #expect(good { $0.stepsPerRollout = 4 }.resolvedGlobalBatchSize == 8)
    #expect(good { $0.globalBatchSize = 8 }.resolvedStepsPerRollout == 4)
  }

  @Test func enginesFollowTheCluster() {
    var cluster = ClusterConfiguration()
    cluster.actorGPUsPerNode = 4
    #expect(cluster.engineCount == 1)
    cluster.colocate = true
    #expect(cluster.engineCount == 4)
    cluster.rolloutGPUs = 2
    #expect(cluster.engineCount == 2)
  }

  @Test func loadedSamplesNeedNoEngineAndNoPrompts() throws {
    let configuration = good { ($0.debug.loadRolloutData, $0.data.promptData) = ("samples_{rollout_id}.jsonl", "") }
    try configuration.validate()
    #expect(!configuration.usesEngine)
  }

  @Test func precisionFollowsTheDevice() {
    var backend = BackendConfiguration()
    #expect(backend.resolvedDType == .float32)
    backend.device = .cuda
    #expect(backend.resolvedDType == .bfloat16)
  }
}
