import Foundation
import Inference
import Observability
import Rollout
import Training
import WeightSync

/// `slime train`: generate → reward → train → update weights → evaluate → save, one rollout after another.
public struct TrainingLoop {
  private let configuration: TrainConfiguration
  private let inputs: RunInputs
  private let workers: RunWorkers
  private let checkpoints: RunCheckpoints?
  private let firstRollout: Int
  private let sinks: MetricsSinks
  private let console: Console
  private let timers = Timers()
  private let observer: @Sendable (RunEvent) -> RunDecision
  private let reward: @Sendable (Sample) async throws -> Reward

  /// Runs a validated configuration to its end.
  /// - Parameters:
  ///   - sinks: where metrics go besides the console and the saves' folder.
  ///   - observer: told what happens, and may end the run; for commands that do more than show the metrics.
  public static func run(
    _ configuration: TrainConfiguration, console: Console = .standard, recordingTo sinks: [any MetricsSink] = [],
    observer: @escaping @Sendable (RunEvent) -> RunDecision = { _ in .goOn }
  ) async throws {
    let inputs = try RunInputs(configuration)
    let checkpoint = configuration.checkpoint
    let resume = try checkpoint.load.flatMap {
      try RunCheckpoints($0).resume(checkpoint.loadIteration, isFineTuned: checkpoint.isFineTuned)
    }
    if let state = resume?.sourceState { try await inputs.source?.load(from: state) }
    let reward = try rewardFunction(
      configuration.rollout.rewardModelType, standard: configuration.distillation.isOn ? .number(0) : nil)
    let workers = try await RunWorkers.start(inputs, resume)
    do {
      var step = resume?.nextStep ?? 0
      let loop = try TrainingLoop(inputs, workers, resume, firstStep: step, reward, console, sinks, observer)
      try await loop.run(step: &step, console)
    } catch {
      let cause = await workers.supervisor.cause(of: error)
      _ = await workers.supervisor.shutDown()
      throw cause
    }
    _ = await workers.supervisor.shutDown()
  }

  private init(
    _ inputs: RunInputs, _ workers: RunWorkers, _ resume: RunCheckpoints.Resume?, firstStep: Int,
    _ reward: @escaping @Sendable (Sample) async throws -> Reward, _ console: Console, _ others: [any MetricsSink],
    _ observer: @escaping @Sendable (RunEvent) -> RunDecision
  ) throws {
    (configuration, self.inputs, self.workers, self.observer) = (inputs.configuration, inputs, workers, observer)
    (self.reward, self.console) = (reward, console)
    checkpoints = configuration.checkpoint.save.map { RunCheckpoints($0, critic: inputs.configuration.critic.save) }
    firstRollout = configuration.data.startRolloutID ?? resume?.nextRollout ?? 0
    var sinks: [any MetricsSink] = [ConsoleSink(console, isShown: Self.isShown)] + others
    if let save = configuration.checkpoint.save {
      sinks.append(try JSONLinesSink(URL(fileURLWithPath: save).appendingPathComponent("metrics.jsonl"), firstStep: firstStep))
    }
    self.sinks = MetricsSinks(sinks)
  }

  /// What a person follows a run by; metrics.jsonl has everything.
  private static func isShown(_ name: String) -> Bool {
    [
      "rollout/raw_reward", "rollout/response_len/mean", "rollout/truncated_ratio", "train/loss", "train/grad_norm",
      "train/entropy_loss", "train/kl_loss", "train/train_rollout_logprob_abs_diff",
      "train/critic-value_loss", "perf/step_time",
    ].contains(name) || name.hasPrefix("eval/") && !name.contains("response_len")
  }

  /// What a step spends its time with, one after another; the rest of it is idle. Of the rollout and the actor, as they timed it,
  private static let rolloutPhases = [
    "generation", "reward", "ref_log_probs", "teacher_log_probs", "log_probs", "actor_train",
  ]
  /// and as the loop did.
  private static let otherPhases = [
    "critic_train", "save", "update_weights", "eval", "sleep", "wake_up", "offload_rollout", "onload_rollout",
  ]

  private func run(step: inout Int, _ console: Console) async throws {
    let end = inputs.rolloutCount
    let interval = configuration.eval.interval
    let progress = ProgressBar("rollouts", total: max(end - firstRollout, 1), console: console)
    var pending = Metrics()
    // A save that is still being written.
    var saving: RunCheckpoints.Pending?
    if workers.trainers != nil, workers.engines != nil { _ = try await updateWeights(version: firstRollout) }
    if interval != nil, end == 0 || (firstRollout == 0 && !configuration.eval.skipBeforeTraining) {
      pending.merge(try await evaluate(rolloutID: 0))
    }
    pending.merge(timers.take())
    for rolloutID in stride(from: firstRollout, to: end, by: 1) {
      let began = ContinuousClock.now
      let batch = try await rollout(rolloutID, into: &pending)
      let isUpdateDue = workers.engines != nil && workers.trainers != nil
        && (rolloutID + 1) % configuration.backend.updateWeightsInterval == 0
      try await giveTrainersTheDevices(weightsComeBack: isUpdateDue)
      var steps: [Metrics] = [Metrics()]
      if let trainers = workers.trainers {
        steps = try await train(batch, trainers, into: &pending).enumerated()
          .map { $1.adding("train/step", Double(step + $0)) }
      }
      let nextStep = step + steps.count
      var seen = steps[steps.count - 1]
      seen.merge(pending)
      let isLast = observer(.step(rolloutID: rolloutID, seen)) == .finish || rolloutID + 1 == end
      if let trainers = workers.trainers, isSaved(rolloutID, isLast: isLast) {
        try await timers.measure("save") {
          try await finish(&saving)
          let forceSync = isLast || !configuration.checkpoint.asyncSave
          saving = try await save(rolloutID, nextStep: nextStep, trainers, forceSync: forceSync)
          if forceSync { try await finish(&saving) }
        }
      }
      try await giveEnginesTheDevices(isUpdateDue ? [.weights] : [])
      if isUpdateDue {
        pending.merge(try await timers.measure("update_weights") { try await updateWeights(version: rolloutID + 1) })
      }
      try await onEngines("onload_rollout") { try await $0.resumeMemory([.keyValueCache]) }
      if let interval, (rolloutID + 1) % interval == 0 || isLast {
        pending.merge(try await evaluate(rolloutID: rolloutID + 1))
      }
      let times = timers.take()
      pending.merge(times)
      let seconds = (ContinuousClock.now - began) / .seconds(1)
      pending["perf/step_time"] = seconds
      let busy = Self.rolloutPhases.reduce(0) { $0 + (pending["perf/\($1)_time"] ?? 0) }
        + Self.otherPhases.reduce(0) { $0 + (times["perf/\($1)_time"] ?? 0) }
      pending["perf/idle_time"] = max(0, seconds - busy)
      pending["perf/idle_ratio"] = max(0, 1 - busy / seconds)
      steps[steps.count - 1].merge(pending)
      pending = Metrics()
      for metrics in steps {
        try sinks.record(metrics, step: step)
        step += 1
      }
      progress.update(rolloutID + 1 - firstRollout)
      if isLast { break }
    }
    if !pending.isEmpty { try sinks.record(pending, step: step) }
    progress.finish()
  }

  // MARK: Devices that trainers and engines share

  /// - Parameter weightsComeBack: whether engines get new weights before they are asked again.
  private func giveTrainersTheDevices(weightsComeBack: Bool) async throws {
    try await onEngines("offload_rollout") { try await $0.releaseMemory(weightsComeBack ? [.weights, .keyValueCache] : [.keyValueCache]) }
    guard configuration.offloadsTrainer else { return }
    try await timers.measure("wake_up") { for trainers in [workers.trainers, workers.critics] { try await trainers?.wakeUp() } }
  }

  private func giveEnginesTheDevices(_ tags: [MemoryTag]) async throws {
    if configuration.offloadsTrainer {
      try await timers.measure("sleep") { for trainers in [workers.trainers, workers.critics] { try await trainers?.sleep() } }
    }
    if !tags.isEmpty { try await onEngines("onload_rollout") { try await $0.resumeMemory(tags) } }
  }

  /// Engines that are gone are named by the next update.
  private func onEngines(_ timer: String, _ body: @escaping @Sendable (WorkerEngine) async throws -> Void) async throws {
    guard let last = workers.givingMemory.last else { return }
    try await timers.measure(timer) {
      if workers.givingMemory.count == 1 { return try await body(last) }
      await withTaskGroup(of: Void.self) { group in
        for engine in workers.givingMemory { group.addTask { try? await body(engine) } }
      }
    }
  }

  /// The critic learns first; what it expected before is what the actor's advantages are measured from.
  /// - Returns: metrics of each optimizer step; those of the rollout go into `pending`.
  private func train(
    _ batch: TrainBatch, _ trainers: TrainerGroup, into pending: inout Metrics
  ) async throws -> [Metrics] {
    var batch = batch
    var reports: [(role: String, report: TrainReport)] = []
    if let critics = workers.critics {
      let report = try await timers.measure("critic_train") { [batch] in try await critics.train(batch) }
      batch = batch.adding(report.values)
      reports.append(("critic-", report))
    }
    if workers.critics == nil || batch.rolloutID >= configuration.critic.onlySteps {
      reports.append(("", try await timers.measure("train") { [batch] in try await trainers.train(batch) }))
    }
    var steps = Array(repeating: Metrics(), count: reports[0].report.steps.count)
    for (role, report) in reports {
      for (index, step) in report.steps.enumerated() { steps[index].merge(Metrics(prefix: "train/" + role, step)) }
      pending.merge(Metrics(prefix: "rollout/" + role, report.rollout))
      guard role.isEmpty else { continue }
      for (phase, seconds) in report.seconds.sorted(by: { $0.key < $1.key }) { pending["perf/\(phase)_time"] = seconds }
    }
    return steps
  }

  /// One rollout's samples, from wherever they come, as what trainers take.
  private func rollout(_ rolloutID: Int, into metrics: inout Metrics) async throws -> TrainBatch {
    metrics["rollout/step"] = Double(rolloutID)
    let rewardKey = configuration.rollout.rewardKey
    let samples: [Sample]
    if let template = configuration.debug.loadRolloutData {
      samples = try DebugRolloutData(template: template).load(rolloutID: rolloutID)
      metrics.merge(Metrics(prefix: "", try rolloutMetrics(of: samples, rewardKey: rewardKey)))
    } else if configuration.isSupervised {
      samples = try await supervised()
    } else {
      let result = try await generate(rolloutID)
      metrics.merge(Metrics(prefix: "", try result.metrics(rewardKey: rewardKey, devices: configuration.cluster.engineGPUs)))
      samples = result.samples
    }
    return try timers.measure("data_preprocess") {
      if let template = configuration.debug.saveRolloutData {
        try DebugRolloutData(template: template).save(samples, rolloutID: rolloutID)
      }
      let raw = try samples.map { try ($0.reward ?? .number(0)).value(key: rewardKey) }
      let rewards = configuration.rewardNormalization.apply(raw, groupIDs: samples.enumerated().map { $1.groupIndex ?? -1 - $0 })
      return try TrainBatch(rolloutID: rolloutID, samples: samples, rewards: rewards, rewardKey: rewardKey)
    }
  }

  private func supervised() async throws -> [Sample] {
    guard let codec = inputs.codec, let source = inputs.source else { return [] }
    let masks = LossMaskGenerator(codec: codec, type: configuration.data.lossMaskType)
    return try await SupervisedRollout(masks: masks, chatTemplateArguments: configuration.chatTemplateArguments())
      .generate(count: configuration.rollout.batchSize, from: source)
  }

  private func generate(_ rolloutID: Int) async throws -> RolloutResult {
    guard let codec = inputs.codec, let source = inputs.source, let engines = workers.engines else {
      throw ConfigurationError("this run has no engine to generate rollout \(rolloutID) with")
    }
    let generator = RolloutGenerator(
      configuration: try configuration.generation(contextLength: inputs.model.contextLength), engine: engines, codec: codec,
      reward: .each(reward))
    return try await generator.generate(rolloutID: rolloutID, from: source)
  }

  private func evaluate(rolloutID: Int) async throws -> Metrics {
    guard let codec = inputs.codec, let engines = workers.engines else { return Metrics() }
    let result = try await timers.measure("eval") {
      try await Evaluator(
        engine: engines, codec: codec, concurrency: configuration.serverConcurrency * configuration.cluster.engineCount,
        samplingSeed: configuration.data.rolloutSeed, reward: reward
      ).evaluate(inputs.evaluations)
    }
    let metrics = Metrics(prefix: "", result.metrics).adding("eval/step", Double(rolloutID))
    _ = observer(.evaluation(rolloutID: rolloutID, metrics))
    return metrics
  }

  /// Engines that it does not reach get no requests until another does.
  private func updateWeights(version: Int) async throws -> Metrics {
    guard let trainers = workers.trainers, let update = workers.weightUpdate else { return Metrics() }
    try await trainers.updateWeights()
    let report = try await update.update(version: version)
    let new = workers.engines?.use(allBut: Set(report.failures.map(\.index))) ?? []
    for failure in report.failures where new.contains(failure.index) {
      console.print("\(failure); the other engines go on without it", to: .errors)
    }
    return report.metrics
  }

  private func isSaved(_ rolloutID: Int, isLast: Bool) -> Bool {
    guard checkpoints != nil || configuration.checkpoint.saveHF != nil else { return false }
    return isLast || configuration.checkpoint.saveInterval.map { (rolloutID + 1) % $0 == 0 } ?? false
  }

  private func save(
    _ rolloutID: Int, nextStep: Int, _ trainers: TrainerGroup, forceSync: Bool
  ) async throws -> RunCheckpoints.Pending? {
    if let template = configuration.checkpoint.saveHF {
      let path = template.replacingOccurrences(of: "{rollout_id}", with: String(rolloutID))
      let dtype = inputs.model.dtype ?? configuration.backend.resolvedDType.tensorType
      try await trainers.saveHuggingFace(to: URL(fileURLWithPath: path), dtype: dtype)
    }
    return try await checkpoints?.startSaving(
      rolloutID: rolloutID, nextStep: nextStep, trainers: trainers, critics: workers.critics, source: inputs.source,
      forceSync: forceSync)
  }

  private func finish(_ saving: inout RunCheckpoints.Pending?) async throws {
    guard let checkpoints, let pending = saving else { return }
    saving = nil
    try await checkpoints.finish(pending)
  }
}

/// What happens in a run.
public enum RunEvent: Sendable {
  /// A rollout has been trained on; its last optimizer step's metrics with the rollout's.
  case step(rolloutID: Int, Metrics)
  /// `rolloutID` rollouts were trained on before it.
  case evaluation(rolloutID: Int, Metrics)
}

/// What an observer wants of the run.
public enum RunDecision: Sendable {
  case goOn
  /// To end as if this rollout were the last one: with its evaluation and its save. Heeded after a step.
  case finish
}

extension WeightUpdateReport {
  /// What was sent, and how long reading the weights and handing them to the engines took: at a time, so that their sum may
  /// be more than `perf/update_weights_time`.
  fileprivate var metrics: Metrics {
    var metrics = Metrics()
    if let bytes { metrics["perf/update_weights_bytes"] = Double(bytes) }
    metrics["perf/update_weights_gather_time"] = gatherTime
    metrics["perf/update_weights_send_time"] = sendTime
    return metrics
  }
}

extension Metrics {
  /// Numbers by name, in the names' order.
  init(prefix: String, _ values: [String: Double]) {
    self.init()
    for (name, value) in values.sorted(by: { $0.key < $1.key }) { self[prefix + name] = value }
  }

  fileprivate func adding(_ name: String, _ value: Double) -> Metrics {
    var copy = self
    copy[name] = value
    return copy
  }
}
