import Rollout

/// The rules that concern one part of a configuration alone.

extension ClusterConfiguration {
  public func validate(device: ComputeDevice) throws(ConfigurationError) {
    for (flag, value) in [
      ("actor-num-nodes", actorNodes), ("actor-num-gpus-per-node", actorGPUsPerNode),
      ("rollout-num-gpus-per-engine", rolloutGPUsPerEngine), ("distributed-timeout-minutes", distributedTimeoutMinutes),
    ] {
      try require(value >= 1, "--\(flag) must be at least 1, not \(value)")
    }
    try require(actorNodes == 1, "--actor-num-nodes \(actorNodes) is not supported yet: a run has one machine; use 1")
    try require(
      isExternal || engineGPUs >= 1 && engineGPUs % rolloutGPUsPerEngine == 0,
      "--rollout-num-gpus \(engineGPUs) must be a positive multiple of --rollout-num-gpus-per-engine \(rolloutGPUsPerEngine)")
    if let engines {
      try require(engines >= 1, "--sglang-dp-size must be at least 1, not \(engines)")
      try require(
        engineCount == engines,
        "--sglang-dp-size \(engines) contradicts --rollout-num-gpus \(engineGPUs) with --rollout-num-gpus-per-engine "
          + "\(rolloutGPUsPerEngine), which is \(engineCount) engines; leave one of them out")
    }
    try require(
      !colocate || isExternal || engineGPUs <= trainerRanks,
      "--rollout-num-gpus \(engineGPUs) is more than the \(trainerRanks) devices that --colocate shares with the trainer")
    for (flag, isSet) in [("offload-train", offloadsTrainer), ("offload-rollout", offloadsEngines)] where isSet == true {
      try require(
        colocate && device == .cuda,
        "--\(flag) is for GPUs that trainer and engines share; add --colocate --device cuda, or leave it out")
    }
    try require(
      distributedBackend != .nccl || device == .cuda, "--distributed-backend nccl needs --device cuda; use gloo on the CPU")
    try require(
      distributedBackend != .gloo || device == .cpu || trainerRanks == 1,
      "--distributed-backend gloo moves CPU tensors only; leave it out, and the \(trainerRanks) ranks on --device cuda use NCCL")
  }
}

extension BackendConfiguration {
  public func validate() throws(ConfigurationError) {
    try parallel.validate(trainBackend)
    try require(
      !gradientCheckpointing || trainBackend == .fsdp,
      "--gradient-checkpointing belongs to --train-backend fsdp; use --recompute-granularity full --recompute-method uniform")
    try require(
      fsdp == FSDPConfiguration() || trainBackend == .fsdp,
      "--fsdp-cpu-offload and --fsdp-shard-size belong to --train-backend fsdp; add it, or leave them out")
    try require(
      !fsdp.offloadsToHost || device == .cuda,
      "--fsdp-cpu-offload has no effect on --device cpu, where everything is in host memory; leave it out")
    try require(
      attention == nil || attentionBackend == .auto,
      "--attn-implementation and --attention-backend choose the same thing; give one of them")
    if isDeterministic {
      try require(
        parallel.contextParallelSize == 1,
        "--deterministic-mode does not know --context-parallel-size \(parallel.contextParallelSize): rings merge parts of a "
          + "sequence in an order that depends on the rank; use 1")
      try require(
        resolvedAttention == nil || resolvedAttention == .flashAttention2 && device == .cuda,
        "--deterministic-mode has an attention of its own, not \(resolvedAttention?.rawValue ?? ""); leave --attn-implementation "
          + "and --attention-backend out")
    }
    try require(
      !balanceByFLOPs || useDynamicBatchSize, "--balance-by-flops has no effect without --use-dynamic-batch-size; add it")
    try require(microBatchSize >= 1, "--micro-batch-size must be at least 1, not \(microBatchSize)")
    if let maxTokensPerGPU {
      try require(maxTokensPerGPU >= 1, "--max-tokens-per-gpu must be at least 1, not \(maxTokensPerGPU)")
      try require(
        useDynamicBatchSize, "--max-tokens-per-gpu has no effect without --use-dynamic-batch-size; add it")
    }
    if useDynamicBatchSize {
      try require(maxTokensPerGPU != nil, "--use-dynamic-batch-size needs --max-tokens-per-gpu N")
      try require(microBatchSize == 1, "--micro-batch-size has no effect with --use-dynamic-batch-size; give one of them")
    }
    try require(
      updateWeightBufferSize >= 1, "--update-weight-buffer-size must be at least 1 byte, not \(updateWeightBufferSize)")
    try require(
      updateWeightsInterval >= 1, "--update-weights-interval must be at least 1, not \(updateWeightsInterval)")
  }
}

extension SamplingConfiguration {
  func validate(isSupervised: Bool) throws(ConfigurationError) {
    try require(batchSize >= 1, "--rollout-batch-size is required: the number of prompts a rollout trains on")
    try require(samplesPerPrompt >= 1, "--n-samples-per-prompt must be at least 1, not \(samplesPerPrompt)")
    if let function {
      try require(
        (function == .supervised) == isSupervised,
        "--rollout-function-path \(function.rawValue) belongs to --loss-type "
          + (function == .supervised ? "sft_loss; add it" : "policy_loss; leave one of the two flags out"))
    }
    if isSupervised {
      let set: [(String, Bool)] = [
        ("n-samples-per-prompt", samplesPerPrompt != 1), ("over-sampling-batch-size", overSamplingBatchSize != nil),
        ("dynamic-sampling-filter-path", dynamicSamplingFilter != nil), ("rm-type", rewardModelType != nil),
        ("reward-key", rewardKey != nil),
        ("partial-rollout", partialRollout),
      ]
      for (flag, isSet) in set where isSet {
        throw ConfigurationError("--\(flag) has no effect on --loss-type sft_loss; leave it out")
      }
    }
    // SGLang's rules for sampling parameters; slime refuses temperature 0 in training, as do we.
    try require(
      temperature > 0 && temperature.isFinite,
      "--rollout-temperature must be above 0, not \(temperature): log-probs are taken at that temperature")
    try require(topP > 0 && topP <= 1, "--rollout-top-p must be above 0 and at most 1, not \(topP)")
    try require(topK == -1 || topK >= 1, "--rollout-top-k must be at least 1, or -1 for all tokens, not \(topK)")
    for (flag, value) in [
      ("rollout-max-context-len", maxContextLength), ("rollout-max-prompt-len", maxPromptLength),
      ("rollout-max-response-len", maxResponseLength),
    ] {
      try require(value ?? 1 >= 1, "--\(flag) must be at least 1, not \(value ?? 0)")
    }
    if let maxContextLength, let maxPromptLength {
      try require(
        maxPromptLength < maxContextLength,
        "--rollout-max-prompt-len \(maxPromptLength) leaves no room for a response in --rollout-max-context-len \(maxContextLength)")
    }
    try require(partialRollout || !maskOffPolicy, "--mask-offpolicy-in-partial-rollout has no effect without --partial-rollout; add it")
    if let dynamicSamplingFilter {
      do { _ = try DynamicSamplingFilter.named(dynamicSamplingFilter) } catch { throw ConfigurationError("\(error)") }
    }
    if let overSamplingBatchSize {
      try require(
        overSamplingBatchSize >= batchSize,
        "--over-sampling-batch-size \(overSamplingBatchSize) is less than --rollout-batch-size \(batchSize); give at least as much")
    }
  }
}

extension EvalConfiguration {
  func validate(engineRuns: Bool) throws(ConfigurationError) {
    guard let interval else {
      try require(datasets.isEmpty, "--eval-prompt-data has no effect without --eval-interval; add --eval-interval N")
      return
    }
    try require(interval >= 1, "--eval-interval must be at least 1, not \(interval)")
    try require(!datasets.isEmpty, "--eval-interval has nothing to evaluate; add --eval-prompt-data NAME PATH")
    try require(engineRuns, "--eval-interval needs an engine, which --debug-train-only and --loss-type sft_loss do without; leave it out")
    try require(samplesPerPrompt >= 1, "--n-samples-per-eval-prompt must be at least 1, not \(samplesPerPrompt)")
    try require(temperature ?? 0 >= 0, "--eval-temperature must not be negative, not \(temperature ?? 0)")
    try require(topP ?? 1 > 0 && topP ?? 1 <= 1, "--eval-top-p must be above 0 and at most 1, not \(topP ?? 0)")
    try require(topK ?? 1 == -1 || topK ?? 1 >= 1, "--eval-top-k must be at least 1, or -1 for all tokens, not \(topK ?? 0)")
  }
}

extension OptimizerConfiguration {
  func validate() throws(ConfigurationError) {
    try require(learningRate >= 0 && learningRate.isFinite, "--lr must not be negative, not \(learningRate)")
    try require(
      minLearningRate >= 0 && minLearningRate <= learningRate,
      "--min-lr must be between 0 and --lr \(learningRate), not \(minLearningRate)")
    try require(
      warmupInit >= 0 && warmupInit <= learningRate, "--lr-warmup-init must be between 0 and --lr \(learningRate), not \(warmupInit)")
    try require(warmupSteps >= 0, "--lr-warmup-iters must not be negative, not \(warmupSteps)")
    try require(decaySteps ?? 1 >= 1, "--lr-decay-iters must be at least 1, not \(decaySteps ?? 0)")
    if let warmupFraction {
      try require(warmupFraction >= 0 && warmupFraction < 1, "--lr-warmup-fraction must be at least 0 and below 1, not \(warmupFraction)")
      try require(warmupSteps == 0, "--lr-warmup-fraction and --lr-warmup-iters both set the warmup; give one of them")
    }
    try require(
      warmupInit == 0 || warmupSteps > 0 || warmupFraction ?? 0 > 0,
      "--lr-warmup-init has no effect without a warmup; add --lr-warmup-iters or --lr-warmup-fraction")
    try require(
      (decayStyle == .warmupStableDecay) == (wsdDecaySteps != nil),
      "--lr-decay-style WSD and --lr-wsd-decay-iters N go together; give both or neither")
    try require(
      decayStyle != .constant || minLearningRate == 0, "--min-lr has no effect with --lr-decay-style constant; choose another style")
    for (flag, value) in [("adam-beta1", beta1), ("adam-beta2", beta2)] {
      try require(value >= 0 && value < 1, "--\(flag) must be at least 0 and below 1, not \(value)")
    }
    for (flag, value) in [("weight-decay", weightDecay), ("clip-grad", clipGradient)] {
      try require(value >= 0 && value.isFinite, "--\(flag) must not be negative, not \(value)")
    }
    try require(epsilon > 0, "--adam-eps must be above 0, not \(epsilon)")
  }
}

extension EngineConfiguration {
  /// - Parameter prefix: what the flags' names begin with: `sglang-` in `train`.
  public func validate(prefix: String = "") throws(ConfigurationError) {
    for (flag, value) in [
      ("context-length", contextLength), ("max-running-requests", maxRunningRequests), ("max-total-tokens", maxTotalTokens),
      ("cuda-graph-max-bs", cudaGraphMaxBatch),
      ("chunked-prefill-size", chunkedPrefillSize), ("page-size", pageSize), ("tp-size", tensorParallelSize),
      ("ep-size", expertParallelSize),
    ] {
      try require(value ?? 1 >= 1, "--\(prefix)\(flag) must be at least 1, not \(value ?? 0)")
    }
    try validateSpeculation(prefix: prefix)
    if let memFractionStatic {
      try require(
        memFractionStatic > 0 && memFractionStatic < 1,
        "--\(prefix)mem-fraction-static must be above 0 and below 1, not \(memFractionStatic)")
    }
  }

  private func validateSpeculation(prefix: String) throws(ConfigurationError) {
    let names = SpeculativeAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
    try require(
      speculation != nil || (draftModel == nil && speculativeSteps == nil && draftTokens == 4 && speculativeBranches == 1),
      "--\(prefix)speculative-draft-model-path, -num-steps, -eagle-topk and -num-draft-tokens have no effect without "
        + "--\(prefix)speculative-algorithm; add it (one of \(names))")
    try require(
      draftModel == nil || speculation != .ngram && speculation != .nextN,
      "--\(prefix)speculative-draft-model-path is of STANDALONE, EAGLE and EAGLE3, and \(speculation?.rawValue ?? "") has none; "
        + "leave it out")
    try require(
      draftModel != nil || speculation != .standalone && speculation != .eagle3,
      "--\(prefix)speculative-algorithm \(speculation?.rawValue ?? "") needs --\(prefix)speculative-draft-model-path; add it")
    try require(
      speculation != .ngram || speculativeSteps == nil,
      "--\(prefix)speculative-num-steps is of a draft model, which NGRAM has not; leave it out")
    try require(draftTokens >= 2, "--\(prefix)speculative-num-draft-tokens must be at least 2, not \(draftTokens)")
    try require(
      speculativeSteps ?? 1 >= 1, "--\(prefix)speculative-num-steps must be at least 1, not \(speculativeSteps ?? 0)")
    try require(
      speculativeBranches >= 1, "--\(prefix)speculative-eagle-topk must be at least 1, not \(speculativeBranches)")
    guard speculativeBranches > 1 else { return }
    try require(
      speculation?.usesHead == true,
      "--\(prefix)speculative-eagle-topk \(speculativeBranches) is of draft heads (EAGLE, EAGLE3, NEXTN); leave it out")
    guard let speculativeSteps else {
      throw ConfigurationError(
        "--\(prefix)speculative-eagle-topk \(speculativeBranches) makes drafts a tree, whose depth is "
          + "--\(prefix)speculative-num-steps; give it too")
    }
    let most = 1 + speculativeBranches + (speculativeSteps - 1) * speculativeBranches * speculativeBranches
    try require(
      draftTokens <= most,
      "--\(prefix)speculative-num-draft-tokens \(draftTokens) is more than \(speculativeSteps) steps with "
        + "\(speculativeBranches) branches give, which is \(most); lower it")
  }
}
