import RLAlgorithms
import Checkpoints
import Foundation
import Models
import Parallelism
import Torch

/// Fully sharded data parallelism: Hugging Face checkpoints as they are, fp32 master weights and optimizer state spread
/// over the ranks.
public final class FSDPBackend: TrainBackend {
  let options: TrainingOptions
  let parallel: ParallelContext
  let actor: FullyShardedCausalLM
  private let reference: FullyShardedCausalLM?
  let optimizer: AdamW
  public internal(set) var stepCount = 0

  /// - Parameters:
  ///   - folder: the model and its weights to start from.
  ///   - referenceFolder: those of the reference policy, where the options need one; nil: `folder`.
  public init(
    _ folder: HuggingFaceFolder, reference referenceFolder: HuggingFaceFolder? = nil, options: TrainingOptions,
    parallel: ParallelContext
  ) throws {
    (self.options, self.parallel) = (options, parallel)
    func model(_ folder: HuggingFaceFolder) throws -> FullyShardedCausalLM {
      let model = try FullyShardedCausalLM(
        ModelRegistry.configuration(of: folder), parallel: parallel, computeType: options.computeType,
        gradientCheckpointing: options.gradientCheckpointing)
      try catchingTorchErrors { try model.load(folder) }
      return model
    }
    actor = try model(folder)
    reference = options.needsReference ? try model(referenceFolder ?? folder) : nil
    optimizer = AdamW(actor.sharded.shards, options: options.optimizer)
  }

  public func train(_ batch: TrainBatch) throws -> TrainReport {
    try batch.check(vocabularySize: actor.model.configuration.vocabularySize)
    let schedule = try DataParallelSchedule(
      lengths: batch.totalLengths.map { Int($0) }, rolloutIDs: batch.rolloutIDs,
      globalBatchSize: options.globalBatchSize, batching: options.batching, dataParallelSize: parallel.data.size,
      workloads: options.balancesData ? workloads(batch) : nil)
    let plan = RankPlan(schedule, batch, rank: parallel.data.rank)
    return try catchingTorchErrors {
      var columns = TokenColumns(
        advantages: [], oldLogProbs: nil, referenceLogProbs: nil, rolloutLogProbs: plan.batch.rolloutLogProbs,
        weights: plan.weights(options.normalization, batch), masks: plan.batch.lossMasks)
      columns.referenceLogProbs = reference.map { logProbs($0, plan) }
      if needsOldLogProbs(steps: schedule.steps.count) { columns.oldLogProbs = logProbs(actor, plan) }
      columns.advantages = advantages(plan.batch, columns)
      var report = TrainReport()
      report.rollout = rolloutMetrics(plan.batch, columns)
      report.tokens = batch.tokens.count
      for microBatches in plan.steps { report.steps.append(step(plan.batch, microBatches, columns)) }
      return report
    }
  }

  /// One optimizer step at the schedule's learning rate.
  private func step(_ batch: TrainBatch, _ microBatches: [[Int]], _ columns: TokenColumns) -> [String: Double] {
    let ranges = batch.responseRanges
    var sums: [(name: String, value: Tensor)] = []
    for samples in microBatches {
      let pack = PackedBatch(batch, samples, device: parallel.device)
      let inputs = LossInputs(columns, ranges: samples.map { ranges[$0] }, device: parallel.device)
      let part = actor.sharded.withRoot {
        let part = StepLoss(actor.statistics(pack, temperature: options.temperature), inputs, options)
        part.loss.backward()
        return part
      }
      if sums.isEmpty {
        sums = part.metrics
      } else {
        for i in sums.indices { sums[i].value = sums[i].value + part.metrics[i].value }
      }
    }
    let learningRate = options.schedule.rate(at: Double(stepCount))
    let norm = applyGradients(learningRate: learningRate)
    var metrics = summedOverRanks(sums)
    metrics["grad_norm"] = norm
    metrics["lr-pg_0"] = learningRate
    return metrics
  }

  /// Clips, steps and forgets the gradients.
  /// - Returns: the norm of all gradients before clipping. A step whose norm is not finite is skipped.
  func applyGradients(learningRate: Double) -> Double {
    let gradients = actor.sharded.shards.compactMap(\.grad)
    let squares = Tensor.stack(Tensor.foreachNorm(gradients)).square().sum()
    parallel.data.allReduce(squares)
    let norm = squares.sqrt().item()
    if norm.isFinite {
      if options.clipGradient > 0, norm > options.clipGradient {
        withoutGradients { Tensor.foreachMul_(gradients, scalar: options.clipGradient / (norm + 1e-6)) }
      }
      optimizer.step(learningRate: learningRate)
    }
    for shard in actor.sharded.shards { shard.grad = nil }
    stepCount += 1
    return norm
  }

  /// Whether the sampling policy's log-probabilities need a pass before the first step: with one step a rollout they are
  /// those of the step itself.
  private func needsOldLogProbs(steps: Int) -> Bool {
    guard options.loss == .policy else { return false }
    let same = steps == 1 && options.klCoefficient == 0 && options.policy.estimator != .gspo
    return !same && !(options.usesRolloutLogProbs && options.importanceBounds == nil)
  }

  /// Log-probabilities of all response tokens of this rank's samples, in the batch's order.
  private func logProbs(_ model: FullyShardedCausalLM, _ plan: RankPlan) -> [Float] {
    var result = [Float](repeating: 0, count: plan.batch.lossMasks.count)
    let ranges = plan.batch.responseRanges
    for samples in plan.steps.joined() {
      let pack = PackedBatch(plan.batch, samples, device: parallel.device)
      let values: [Float] = model.frozenStatistics(pack, temperature: options.temperature).logProbs.array()
      var start = 0
      for sample in samples {
        result.replaceSubrange(ranges[sample], with: values[start..<start + ranges[sample].count])
        start += ranges[sample].count
      }
    }
    return result
  }

  private func advantages(_ batch: TrainBatch, _ columns: TokenColumns) -> [Float] {
    guard options.loss == .policy, options.computesAdvantages else {
      return [Float](repeating: 0, count: batch.lossMasks.count)
    }
    let current = options.usesRolloutLogProbs ? columns.rolloutLogProbs : columns.oldLogProbs
    var kl: [Float]?
    if options.klCoefficient != 0, let reference = columns.referenceLogProbs, let current {
      kl = klDivergence(Tensor(current), reference: Tensor(reference), options.klEstimator).array()
    }
    let plain = RLAlgorithms.advantages(
      options.policy.estimator, rewards: batch.rewards, responseLengths: batch.responseLengths.map { Int($0) },
      masks: batch.lossMasks, kl: kl, klCoefficient: options.klCoefficient, discount: options.discount)
    guard options.normalizesAdvantages else { return plain }
    let own = MaskedMoments(plain, masks: batch.lossMasks)
    let sums = Tensor([own.count, own.sum, own.squares])
    let all: [Double] = allReduced(sums).array()
    var moments = MaskedMoments()
    (moments.count, moments.sum, moments.squares) = (all[0], all[1], all[2])
    return moments.whiten(plain)
  }

  private func workloads(_ batch: TrainBatch) -> [Double] {
    let model = actor.model.configuration
    let cost = ForwardCost(
      layers: model.layerCount, hiddenSize: model.hiddenSize, queryDimension: model.headCount * model.headDimension,
      keyValueDimension: model.keyValueHeadCount * model.headDimension, intermediateSize: model.intermediateSize,
      vocabularySize: model.vocabularySize)
    return batch.totalLengths.map { cost.operations(tokens: Int($0)) }
  }

  // MARK: Metrics

  private func allReduced(_ tensor: Tensor) -> Tensor {
    let moved = tensor.to(device: parallel.device, copy: true)
    parallel.data.allReduce(moved)
    return moved
  }

  private func summedOverRanks(_ sums: [(name: String, value: Tensor)]) -> [String: Double] {
    guard !sums.isEmpty else { return [:] }
    let values: [Double] = allReduced(Tensor.stack(sums.map { $0.value.to(dtype: .float64) })).array()
    return Dictionary(uniqueKeysWithValues: zip(sums.map(\.name), values))
  }

  /// Means over all trained tokens of the rollout.
  private func rolloutMetrics(_ batch: TrainBatch, _ columns: TokenColumns) -> [String: Double] {
    var sums: [(name: String, value: Tensor)] = [("count", Tensor(batch.lossMasks.reduce(0.0) { $0 + Double($1) }, dtype: .float64))]
    func add(_ name: String, _ values: [Float]?) {
      guard let values else { return }
      let sum = zip(values, batch.lossMasks).reduce(0.0) { $0 + ($1.1 == 1 ? Double($1.0) : 0) }
      sums.append((name, Tensor(sum, dtype: .float64)))
    }
    if options.loss == .policy { add("advantages", columns.advantages) }
    add("log_probs", columns.oldLogProbs)
    add("ref_log_probs", columns.referenceLogProbs)
    add("rollout_log_probs", columns.rolloutLogProbs)
    var means = summedOverRanks(sums)
    let count = max(means.removeValue(forKey: "count") ?? 0, 1)
    return means.mapValues { $0 / count }
  }
}

/// What one rank does of a schedule, with its own samples only.
struct RankPlan {
  let batch: TrainBatch
  /// `[step][micro-batch]` → places in `batch`.
  let steps: [[[Int]]]
  private let order: [Int]
  private let stepOf: [Int]
  private let schedule: DataParallelSchedule

  init(_ schedule: DataParallelSchedule, _ batch: TrainBatch, rank: Int) {
    var order: [Int] = []
    var stepOf: [Int] = []
    steps = schedule.steps.enumerated().map { index, step in
      step.microBatches[rank].map { samples in
        samples.map { sample in
          order.append(sample)
          stepOf.append(index)
          return order.count - 1
        }
      }
    }
    (self.order, self.stepOf, self.schedule) = (order, stepOf, schedule)
    self.batch = batch.selecting(order)
  }

  /// mask · weight of each response token; a step's weights follow from all its samples, on every rank.
  func weights(_ normalization: LossNormalization, _ whole: TrainBatch) -> [Float] {
    let ranges = whole.responseRanges
    func maskSum(_ sample: Int) -> Int { whole.lossMasks[ranges[sample]].reduce(0) { $0 + Int($1) } }
    let weightOf: [[Int: Double]] = schedule.steps.map { step in
      let samples = step.microBatches.joined().joined()
      let weights = lossWeights(
        maskSums: samples.map(maskSum), rolloutMaskSums: samples.map { Int(whole.rolloutMaskSums[$0]) },
        rolloutCount: step.rolloutCount, normalization: normalization)
      return Dictionary(uniqueKeysWithValues: zip(samples, weights))
    }
    var result: [Float] = []
    for (place, range) in batch.responseRanges.enumerated() {
      let weight = Float(weightOf[stepOf[place]][order[place]]!)
      result += batch.lossMasks[range].map { $0 == 1 ? weight : 0 }
    }
    return result
  }
}
