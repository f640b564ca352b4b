import Foundation
import Models
import Parallelism
import RLAlgorithms
import Torch

/// One rank of a trainer: the algorithm (log-probabilities, advantages, losses, steps), the same over every backend.
///
/// Every rank is called with the same arguments, in the same order.
public final class PolicyTrainer {
  public let backend: any TrainBackend
  let options: TrainingOptions
  private let layout: SequenceLayout
  var parallel: ParallelContext { backend.parallel }

  public init(_ backend: any TrainBackend, options: TrainingOptions) {
    (self.backend, self.options) = (backend, options)
    layout = SequenceLayout(backend.parallel, format: options.sequenceFormat)
  }

  /// Whether this rank is told log-probabilities and losses: those of the pipeline's last stage are.
  var isLastStage: Bool { parallel.stage == parallel.stageCount - 1 }

  /// Whether this rank is the one, of those that share its samples, that answers for them.
  var answersForSamples: Bool {
    isLastStage && parallel.coordinates.tensor == 0 && parallel.coordinates.context == 0
  }

  /// Learns from a rollout: one or several optimizer steps.
  /// - Returns: metrics of the rollout, and of each step, the same on every rank of the last stage; names without their
  ///   `train/` prefix.
  public func train(_ batch: TrainBatch) throws -> TrainReport {
    try batch.check(backend.configuration)
    if options.routingReplay == .rollout { try batch.checkRouting(backend.configuration) }
    let schedule = try DataParallelSchedule(
      lengths: batch.totalLengths.map { Int($0) }, rolloutIDs: batch.rolloutIDs,
      globalBatchSize: options.globalBatchSize, batching: options.batching,
      dataParallelSize: parallel.layout.dataParallelSize, contextParallelSize: parallel.layout.contextParallelSize,
      microBatchGroup: backend.microBatchGroup, workloads: options.balancesData ? workloads(batch) : nil)
    let plan = RankPlan(schedule, batch, rank: parallel.coordinates.data)
    var seconds: [String: Double] = [:]
    /// What is timed ends with numbers on the host: a device has nothing left to do then.
    func timed<R>(_ phase: String, _ body: () throws -> R) rethrows -> R {
      let start = ContinuousClock.now
      defer { seconds[phase, default: 0] += (ContinuousClock.now - start) / .seconds(1) }
      return try body()
    }
    return try catchingTorchErrors {
      var columns = TokenColumns(
        advantages: [], oldLogProbs: nil, referenceLogProbs: nil, rolloutLogProbs: plan.batch.rolloutLogProbs,
        weights: plan.weights(options.normalization, batch), masks: plan.batch.lossMasks)
      let sizes = schedule.steps.map { stepSize($0, batch) }
      let packs = try zip(plan.steps, sizes).map { step, size in try step.map { try trainingPack(plan.batch, $0, size) } }
      if options.needsReference {
        columns.referenceLogProbs = try timed("ref_log_probs") { try outputs(.reference, plan, packs) }
      }
      if options.distillationCoefficient != nil {
        columns.teacherLogProbs = try timed("teacher_log_probs") { try outputs(.teacher, plan, packs) }
      }
      if needsOldLogProbs(steps: schedule.steps.count) {
        columns.oldLogProbs = try timed("log_probs") {
          try outputs(options.keepsOldActor ? .oldActor : .actor, plan, packs)
        }
      }
      columns.values = options.loss == .value
        ? try timed("values") { try outputs(.actor, plan, packs) } : plan.batch.values
      setAdvantages(plan.batch, &columns)
      var report = TrainReport()
      if options.loss == .value { report.values = plan.values(columns.values, isTold: answersForSamples) }
      report.rollout = rolloutMetrics(plan.batch, columns)
      report.tokens = batch.tokens.count
      let furtherCounts = schedule.steps.map { self.furtherCounts($0, batch) }
      for (index, (samples, packs)) in zip(plan.steps, packs).enumerated() {
        report.steps.append(
          try timed("actor_train") { try step(plan.batch, samples, packs, columns, furtherCounts[index]) })
      }
      if let interval = options.referenceUpdateInterval, (batch.rolloutID + 1) % interval == 0 {
        try backend.keepWeights(as: .reference)
      }
      report.seconds = seconds
      return report
    }
  }

  private func trainingPack(
    _ batch: TrainBatch, _ samples: [Int], _ step: RouterLosses.StepSize
  ) throws -> PackedBatch {
    var pack = try PackedBatch(batch, samples, layout: layout, model: backend.configuration, device: parallel.device)
    guard backend.configuration.mixture != nil else { return pack }
    switch options.routingReplay {
    case .training: pack.routing = RoutingRecord()
    case .rollout: pack.routing = pack.routing(batch, samples, backend.configuration, parallel)
    case nil: break
    }
    if !options.routerLosses.areZero { pack.routerLosses = pack.losses(options.routerLosses, step, parallel) }
    return pack
  }

  /// What the routers' losses of a step are means over.
  private func stepSize(_ step: DataParallelSchedule.Step, _ batch: TrainBatch) -> RouterLosses.StepSize {
    let samples = step.microBatches.joined().joined()
    return RouterLosses.StepSize(
      tokens: samples.reduce(0) { $0 + Int(batch.totalLengths[$1]) }, sequences: samples.count)
  }

  /// Trained tokens of a step that each prediction layer predicts, which its loss is the mean over.
  private func furtherCounts(_ step: DataParallelSchedule.Step, _ batch: TrainBatch) -> [Int] {
    let (ranges, samples) = (batch.responseRanges, step.microBatches.joined().joined())
    return (0..<backend.configuration.predictionLayerCount).map { layer in
      samples.reduce(0) { sum, sample in
        // A token that stands too near the beginning has none so far before it.
        let unseen = max(layer + 2 - Int(batch.totalLengths[sample] - batch.responseLengths[sample]), 0)
        return sum + batch.lossMasks[ranges[sample]].dropFirst(unseen).reduce(0) { $0 + Int($1) }
      }
    }
  }

  func pack(_ sequences: [[Int32]]) -> PackedBatch {
    PackedBatch(sequences.map { ($0[...], $0.count - 1) }, layout: layout, device: parallel.device)
  }

  /// One optimizer step at the schedule's learning rate.
  private func step(
    _ batch: TrainBatch, _ microBatches: [[Int]], _ packs: [PackedBatch], _ columns: TokenColumns, _ furtherCounts: [Int]
  ) throws -> [String: Double] {
    let ranges = batch.responseRanges
    var sums: [(name: String, value: Tensor)] = []
    backend.accumulate(packs, temperature: options.temperature) { [options, parallel] index, output, further in
      let inputs = LossInputs(
        columns, packs[index], ranges: microBatches[index].map { ranges[$0] }, furtherCounts: furtherCounts,
        context: parallel.context, device: parallel.device)
      let part = StepLoss(output, further: further, inputs, options)
      if sums.isEmpty {
        sums = part.metrics
      } else {
        for i in sums.indices { sums[i].value = sums[i].value + part.metrics[i].value }
      }
      return part.loss
    }
    let learningRate = options.schedule.rate(at: Double(backend.stepCount))
    let outcome = try backend.applyGradients(learningRate: learningRate)
    var metrics = summed(sums, over: parallel.dataContext)
    metrics["grad_norm"] = outcome.norm
    metrics["lr-pg_0"] = learningRate
    if outcome.isSkipped { metrics["skipped_steps"] = 1 }
    return metrics.merging(routerMetrics(packs)) { own, _ in own }
  }

  /// The routers' losses in a step, means over the mixtures' layers.
  private func routerMetrics(_ packs: [PackedBatch]) -> [String: Double] {
    let sums = packs.compactMap(\.routerLosses?.sums)
    guard !sums.isEmpty else { return [:] }
    let layerCount = Double(backend.configuration.mixtureLayerCount)
    let totals: [Float] = allReduced(Tensor.stack(sums).sum([0]), over: parallel.world).array()
    return Dictionary(
      uniqueKeysWithValues: zip(options.routerLosses.names, totals.map { Double($0) / layerCount }))
  }

  /// Whether the sampling policy's log-probabilities need a pass before the first step: with one step a rollout they are
  /// those of the step itself.
  private func needsOldLogProbs(steps: Int) -> Bool {
    guard options.loss == .policy else { return false }
    let same = steps == 1 && options.klCoefficient == 0 && options.policy.estimator != .gspo && options.routingReplay != .training
      && options.distillationCoefficient == nil && !options.keepsOldActor
    return !same && !(options.usesRolloutLogProbs && options.importanceBounds == nil)
  }

  /// Log-probabilities (a critic's values) of all response tokens of this rank's samples, in the plan's order; zeros before
  /// the last stage.
  private func outputs(_ policy: Policy, _ plan: RankPlan, _ packs: [[PackedBatch]]) throws -> [Float] {
    var result = [Float](repeating: 0, count: plan.batch.lossMasks.count)
    let ranges = plan.batch.responseRanges
    let microBatches = Array(plan.steps.joined())
    let packs = Array(packs.joined())
    try backend.evaluate(packs, policy: policy, temperature: options.temperature) { index, output in
      let values: [Float] = output.perToken.array()
      for (value, (sample, place)) in zip(values, packs[index].predicted) {
        result[ranges[microBatches[index][sample]].lowerBound + place] = value
      }
    }
    return isLastStage ? completed(result) : result
  }

  /// Values of response tokens that each context-parallel rank knows some of, zero elsewhere.
  func completed(_ values: [Float]) -> [Float] {
    parallel.context.size == 1 || values.isEmpty ? values : allReduced(Tensor(values), over: parallel.context).array()
  }

  private func workloads(_ batch: TrainBatch) -> [Double] {
    let model = backend.configuration
    let cost = ForwardCost(
      layers: model.layerCount, attentionLayers: model.attentionLayers.count, hiddenSize: model.hiddenSize,
      queryDimension: model.headCount * model.headDimension,
      keyValueDimension: model.keyValueHeadCount * model.headDimension, intermediateSize: model.activeIntermediateSize,
      vocabularySize: model.vocabularySize)
    return batch.totalLengths.map { cost.operations(tokens: Int($0)) }
  }

  // MARK: Metrics

  func allReduced(_ tensor: Tensor, over group: ProcessGroup) -> Tensor {
    let moved = tensor.to(device: parallel.device, copy: true)
    group.allReduce(moved)
    return moved
  }

  private func summed(_ sums: [(name: String, value: Tensor)], over group: ProcessGroup) -> [String: Double] {
    guard !sums.isEmpty else { return [:] }
    let values: [Double] = allReduced(Tensor.stack(sums.map { $0.value.to(dtype: .float64) }), over: group).array()
    return Dictionary(uniqueKeysWithValues: zip(sums.map(\.name), values))
  }

  /// Means over all trained tokens of the rollout.
  private func rolloutMetrics(_ batch: TrainBatch, _ columns: TokenColumns) -> [String: Double] {
    var sums: [(name: String, value: Tensor)] = [
      ("count", Tensor(batch.lossMasks.reduce(0.0) { $0 + Double($1) }, dtype: .float64))
    ]
    func add(_ name: String, _ values: [Float]?) {
      guard let values else { return }
      let sum = zip(values, batch.lossMasks).reduce(0.0) { $0 + ($1.1 == 1 ? Double($1.0) : 0) }
      sums.append((name, Tensor(sum, dtype: .float64)))
    }
    if options.loss != .supervised { add("advantages", columns.advantages) }
    add("values", columns.values)
    add("returns", columns.returns)
    add("teacher_log_probs", columns.teacherLogProbs)
    add("log_probs", columns.oldLogProbs)
    add("ref_log_probs", columns.referenceLogProbs)
    add("rollout_log_probs", columns.rolloutLogProbs)
    var means = summed(sums, over: parallel.data)
    let count = max(means.removeValue(forKey: "count") ?? 0, 1)
    return means.mapValues { $0 / count }
  }
}
