extension TrainConfiguration {
  /// Checks the flags against each other; no file is opened.
  /// - Throws: the first contradiction.
  public func validate() throws(ConfigurationError) {
    try require(!checkpoint.hfCheckpoint.isEmpty, "--hf-checkpoint is required: the folder of the model to train")
    try cluster.validate(device: backend.device)
    try backend.validate()
    try validateLoop()
    try rollout.validate(isSupervised: isSupervised)
    try validateCritic()
    try validateBatches()
    try algorithm.validate()
    try distillation.validate(isSupervised: isSupervised)
    try validatePolicies()
    try validateReference()
    try optimizer.validate()
    _ = try optimizer.precision(backend.resolvedDType)
    try require(
      !optimizer.offloadsToHost || backend.trainBackend == .megatron,
      "--optimizer-cpu-offload belongs to --train-backend megatron; use --fsdp-cpu-offload")
    try require(
      !optimizer.offloadsToHost || backend.device == .cuda,
      "--optimizer-cpu-offload has no effect on --device cpu, where everything is in host memory; leave it out")
    try engine.validate(prefix: "sglang-")
    try validateEngines()
    try eval.validate(engineRuns: usesEngine)
    try validateCheckpoints()
  }

  private func validateLoop() throws(ConfigurationError) {
    try require(
      !(debug.withoutEngine && debug.rolloutOnly),
      "--debug-rollout-only leaves nothing to do beside "
        + "\(debug.trainOnly ? "--debug-train-only" : "--load-debug-rollout-data"); give one of them")
    if debug.loadRolloutData != nil {
      try require(
        debug.saveRolloutData == nil, "--save-debug-rollout-data would write what --load-debug-rollout-data reads; leave it out")
      try require(!isSupervised, "--load-debug-rollout-data has no effect on --loss-type sft_loss; leave it out")
      try require(
        data.rolloutCount != nil, "--num-rollout is required with --load-debug-rollout-data: how many of its files to train on")
    } else {
      try require(!data.promptData.isEmpty, "--prompt-data is required: a jsonl file of prompts")
      try require(
        !debug.trainOnly || isSupervised,
        "--debug-train-only needs samples: add --load-debug-rollout-data PATH, or --loss-type sft_loss")
    }
    try require(
      !(isSupervised && backend.parallel.rolloutRoutingReplay),
      "--use-rollout-routing-replay has no effect on --loss-type sft_loss, where no engine samples; leave it out")
    try require(
      !(debug.rolloutOnly && isSupervised), "--debug-rollout-only has no effect on --loss-type sft_loss; leave it out")
    for (flag, path) in [("save", debug.saveRolloutData), ("load", debug.loadRolloutData)] {
      guard let path, !path.contains("{rollout_id}") else { continue }
      throw ConfigurationError(
        "--\(flag)-debug-rollout-data \(path) names one file for all rollouts; put {rollout_id} into the path")
    }
    try require(
      data.rolloutCount != nil || data.epochs != nil,
      "the length of the run is missing: give --num-rollout N or --num-epoch N")
    try require(
      data.rolloutCount == nil || data.epochs == nil,
      "--num-rollout and --num-epoch both set the length of the run; give one of them")
    try require(data.rolloutCount ?? 0 >= 0, "--num-rollout must not be negative")
    try require(data.epochs ?? 1 >= 1, "--num-epoch must be at least 1")
    try require(data.startRolloutID ?? 0 >= 0, "--start-rollout-id must not be negative")
    _ = try chatTemplateArguments()
    try require(
      isSupervised || data.lossMaskType == .qwen, "--loss-mask-type has no effect without --loss-type sft_loss; leave it out")
    try require(
      data.chatTemplateArguments == "{}" || data.applyChatTemplate || isSupervised,
      "--apply-chat-template-kwargs has no effect without --apply-chat-template; add it")
    try require(
      data.rolloutCount != 0 || eval.interval != nil, "--num-rollout 0 only evaluates; add --eval-interval and --eval-prompt-data")
  }

  func validateBatches() throws(ConfigurationError) {
    let samples = rollout.samplesPerRollout
    let formula = "--rollout-batch-size \(rollout.batchSize) × --n-samples-per-prompt \(rollout.samplesPerPrompt) = \(samples)"
    if let steps = stepsPerRollout {
      try require(steps >= 1, "--num-steps-per-rollout must be at least 1, not \(steps)")
      try require(samples % steps == 0, "\(formula) samples do not divide into --num-steps-per-rollout \(steps) steps")
      if let size = globalBatchSize, size != samples / steps {
        throw ConfigurationError(
          "--global-batch-size \(size) contradicts --num-steps-per-rollout \(steps): \(formula) samples in \(steps) steps are "
            + "\(samples / steps) each; leave one of the two flags out")
      }
    }
    let size = resolvedGlobalBatchSize
    try require(size >= 1, "--global-batch-size must be at least 1, not \(size)")
    guard trains else { return }
    try require(
      samples % size == 0,
      "--global-batch-size \(size) does not divide \(formula): \(samples % size) samples of every rollout would not be trained on")
    try validateStep(size)
  }

  /// Whether the samples of an optimizer step can be dealt out.
  func validateStep(_ size: Int) throws(ConfigurationError) {
    try validateShares(of: size, worldSize: cluster.trainerRanks)
    if usesCritic { try validateShares(of: size, worldSize: criticRanks) }
  }

  /// Whether each data-parallel rank has its part of a step.
  private func validateShares(of size: Int, worldSize: Int) throws(ConfigurationError) {
    let ranks = try backend.layout(worldSize: worldSize).dataParallelSize
    try require(
      size >= ranks,
      "--global-batch-size \(size) leaves some of the \(ranks) data-parallel ranks without a sample; give at least \(ranks)")
    if !backend.useDynamicBatchSize {
      let multiple = backend.microBatchSize * ranks
      try require(
        size % multiple == 0,
        "--global-batch-size \(size) is no multiple of --micro-batch-size \(backend.microBatchSize) × \(ranks) data-parallel ranks = \(multiple); "
          + "use --use-dynamic-batch-size with --max-tokens-per-gpu, or change one of them")
    }
  }

  /// Which weights are kept, and for how long.
  private func validatePolicies() throws(ConfigurationError) {
    if algorithm.keepsOldActor {
      try require(
        backend.updateWeightsInterval > 1 && usesEngine,
        "--keep-old-actor has no effect where the policy that samples is the one that is trained: "
          + (usesEngine ? "give --update-weights-interval above 1, or leave it out" : "leave it out"))
    }
    try require(
      !(algorithm.keepsOldActor && backend.parallel.routingReplay),
      "--use-routing-replay repeats the experts of the policy that is trained, whose old log-probs --keep-old-actor does not "
        + "compute; give one of them")
    if let interval = algorithm.referenceUpdateInterval, let saved = checkpoint.saveInterval {
      try require(
        saved % interval == 0,
        "--save-interval \(saved) is no multiple of --ref-update-interval \(interval): saves hold no reference, "
          + "which must be the policy that they hold; change one of them")
    }
  }

  private func validateReference() throws(ConfigurationError) {
    guard let reference = checkpoint.referenceLoad, reference != checkpoint.hfCheckpoint else { return }
    try require(
      algorithm.needsReference,
      "--ref-load \(reference) has no effect without --use-kl-loss or --kl-coef; leave it out or add one of them")
  }

  private func validateCheckpoints() throws(ConfigurationError) {
    try require(
      checkpoint.save != nil || (!checkpoint.asyncSave && checkpoint.savesOptimizer),
      "--async-save and --no-save-optim have no effect without --save; add --save FOLDER")
    try require(
      checkpoint.load != nil || (checkpoint.loadIteration == nil && checkpoint.loadsOptimizer && !checkpoint.isFineTuned),
      "--ckpt-step, --no-load-optim and --finetune have no effect without --load; add --load FOLDER")
    if let interval = checkpoint.saveInterval {
      try require(interval >= 1, "--save-interval must be at least 1, not \(interval)")
      try require(
        checkpoint.save != nil || checkpoint.saveHF != nil, "--save-interval has no effect without --save; add --save FOLDER")
    }
    if let path = checkpoint.saveHF {
      try require(
        path.contains("{rollout_id}"), "--save-hf \(path) names one folder for all checkpoints; put {rollout_id} into the path")
    }
    try require(serverConcurrency >= 1, "--sglang-server-concurrency must be at least 1, not \(serverConcurrency)")
  }
}

/// Throws `message` unless `condition` holds.
func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(ConfigurationError) {
  if !condition { throw ConfigurationError(message()) }
}
