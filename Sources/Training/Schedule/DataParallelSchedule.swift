/// How the samples of one training step become micro-batches.
public enum MicroBatching: Sendable, Equatable, Codable {
  /// As many samples as fit in this many tokens per device (times the context-parallel size).
  case dynamic(maxTokensPerDevice: Int)
  /// The same, filled so that micro-batches cost about equally much (`--balance-by-flops`); needs workloads.
  case balanced(maxTokensPerDevice: Int)
  /// This many samples, whatever their length.
  case fixed(microBatchSize: Int)
}

/// Which samples each data-parallel rank trains on, in which micro-batches, step by step.
///
/// Pack first, distribute second (slime's `dp_schedule`): the samples of a step are packed into micro-batches as if there
/// were one rank; then whole micro-batches are dealt out. Every rank has the same number of them in a step, so that
/// collectives match without asking.
public struct DataParallelSchedule: Sendable, Equatable, Codable {
  public struct Step: Sendable, Equatable, Codable {
    /// `[rank][micro-batch]` → positions of samples in the batch.
    public let microBatches: [[[Int]]]
    /// How many rollouts the step holds: the denominator of the per-rollout loss.
    public let rolloutCount: Int

    public var microBatchesPerRank: Int { microBatches[0].count }
  }

  public let steps: [Step]
  /// Rollouts at the end that do not fill a step, and therefore are not trained on.
  public let trailingRollouts: Int
  /// Their samples, as positions in the batch.
  public let trailingSamples: [Int]

  /// - Parameters:
  ///   - lengths: Tokens of each sample, prompt and response.
  ///   - rolloutIDs: The rollout of each sample; samples of one rollout stay in one step.
  ///   - globalBatchSize: Rollouts a step.
  ///   - microBatchGroup: The number of micro-batches per rank is a multiple of this (virtual pipeline stages need it).
  ///   - workloads: The cost of each sample. Given: micro-batches are dealt so that ranks have equal cost
  ///     (`--balance-data`). nil: rank r takes micro-batches r, r + size, ….
  /// - Throws: `ScheduleError` when no such schedule exists.
  public init(
    lengths: [Int], rolloutIDs: [Int], globalBatchSize: Int, batching: MicroBatching, dataParallelSize: Int,
    contextParallelSize: Int = 1, microBatchGroup: Int = 1, workloads: [Double]? = nil
  ) throws(ScheduleError) {
    guard lengths.count == rolloutIDs.count, workloads == nil || workloads?.count == lengths.count else {
      throw ScheduleError("\(lengths.count) sample lengths came with \(rolloutIDs.count) rollout ids")
    }
    guard dataParallelSize > 0, contextParallelSize > 0, microBatchGroup > 0, globalBatchSize > 0 else {
      throw ScheduleError("global batch size and parallel sizes must be positive")
    }
    var order: [Int] = []
    var members: [Int: [Int]] = [:]
    for (sample, id) in rolloutIDs.enumerated() {
      if members[id] == nil { order.append(id) }
      members[id, default: []].append(sample)
    }
    let stepCount = order.count / globalBatchSize
    guard stepCount > 0 else {
      throw ScheduleError(
        "the batch holds \(order.count) rollouts, fewer than --global-batch-size \(globalBatchSize); "
          + "lower it or raise --rollout-batch-size")
    }
    var steps: [Step] = []
    for index in 0..<stepCount {
      let samples = order[index * globalBatchSize..<(index + 1) * globalBatchSize].flatMap { members[$0]! }
      let packs = try Self.pack(
        lengths: samples.map { lengths[$0] }, workloads: workloads.map { workloads in samples.map { workloads[$0] } },
        batching: batching, contextParallelSize: contextParallelSize,
        multiple: dataParallelSize * microBatchGroup)
      let ranks: [[Int]]
      if let workloads {
        let costs = packs.map { $0.reduce(0) { $0 + workloads[samples[$1]] } }
        ranks = balancedPartition(costs, into: dataParallelSize)
      } else {
        ranks = (0..<dataParallelSize).map { Array(stride(from: $0, to: packs.count, by: dataParallelSize)) }
      }
      steps.append(
        Step(microBatches: ranks.map { $0.map { packs[$0].map { samples[$0] } } }, rolloutCount: globalBatchSize))
    }
    self.steps = steps
    trailingRollouts = order.count - stepCount * globalBatchSize
    trailingSamples = order[(stepCount * globalBatchSize)...].flatMap { members[$0]! }.sorted()
  }

  /// Positions in `lengths`, one array a micro-batch; their number is a multiple of `multiple`.
  private static func pack(
    lengths: [Int], workloads: [Double]?, batching: MicroBatching, contextParallelSize: Int, multiple: Int
  ) throws(ScheduleError) -> [[Int]] {
    switch batching {
    case .fixed(let size):
      guard size > 0 else { throw ScheduleError("--micro-batch-size must be positive, not \(size)") }
      let packs = stride(from: 0, to: lengths.count, by: size).map { Array($0..<min($0 + size, lengths.count)) }
      guard packs.count % multiple == 0 else {
        throw ScheduleError(
          "\(lengths.count) samples a step make \(packs.count) micro-batches of \(size), which \(multiple) does not divide "
            + "(data-parallel size times micro-batch group); change --micro-batch-size or use --use-dynamic-batch-size")
      }
      return packs
    case .dynamic(let tokens), .balanced(let tokens):
      guard tokens > 0 else { throw ScheduleError("--max-tokens-per-gpu must be positive, not \(tokens)") }
      func aligned(_ count: Int) -> Int { (count + multiple - 1) / multiple * multiple }
      let cap = tokens * contextParallelSize
      var packs = firstFit(lengths, cap: cap)
      if case .balanced = batching {
        guard let workloads else { throw ScheduleError("micro-batches of equal cost need the cost of each sample") }
        let balanced = balancedFit(lengths, weights: workloads, cap: cap, count: aligned(packs.count))
        // Equal cost is not worth more micro-batches.
        if balanced.count <= aligned(packs.count) { packs = balanced }
      }
      let target = aligned(packs.count)
      let split = splitBins(packs, into: target, sizes: lengths)
      guard split.count == target else {
        throw ScheduleError(
          "a step of \(lengths.count) samples cannot fill \(target) micro-batches (a multiple of \(multiple), data-parallel "
            + "size times micro-batch group); raise --global-batch-size or use fewer ranks")
      }
      return split
    }
  }
}

/// Rollouts a training step, from the number of steps a rollout is to be spread over or from `--global-batch-size`.
/// - Throws: `ScheduleError` when neither is given, or they contradict each other.
public func globalBatchSize(
  rolloutBatchSize: Int, samplesPerPrompt: Int, stepsPerRollout: Int?, globalBatchSize: Int?
) throws(ScheduleError) -> Int {
  let rollouts = rolloutBatchSize * samplesPerPrompt
  guard let stepsPerRollout else {
    guard let globalBatchSize else {
      throw ScheduleError("give --global-batch-size or --num-steps-per-rollout")
    }
    guard globalBatchSize > 0, globalBatchSize <= rollouts else {
      throw ScheduleError(
        "--global-batch-size \(globalBatchSize) must be between 1 and the \(rollouts) responses of a rollout "
          + "(--rollout-batch-size \(rolloutBatchSize) × --n-samples-per-prompt \(samplesPerPrompt))")
    }
    return globalBatchSize
  }
  guard stepsPerRollout > 0, rollouts % stepsPerRollout == 0 else {
    throw ScheduleError(
      "--num-steps-per-rollout \(stepsPerRollout) does not divide the \(rollouts) responses of a rollout "
        + "(--rollout-batch-size \(rolloutBatchSize) × --n-samples-per-prompt \(samplesPerPrompt))")
  }
  let derived = rollouts / stepsPerRollout
  guard globalBatchSize == nil || globalBatchSize == derived else {
    throw ScheduleError(
      "--global-batch-size \(globalBatchSize!) contradicts --num-steps-per-rollout \(stepsPerRollout), which makes "
        + "\(derived); leave one of them out")
  }
  return derived
}
