import Foundation
import JSON
import TestSupport
import Testing
import Training

@Suite struct DataParallelScheduleTests {
  struct Case {
    var lengths: [Int] = []
    var rolloutIDs: [Int] = []
    var (ranks, context, group, globalBatch, cap) = (1, 1, 1, 1, 1)

    /// Some step has fewer samples than the micro-batches it must be cut into.
    var cannotBeAligned: Bool {
      let ids = rolloutIDs.reduce(into: [Int]()) { if !$0.contains($1) { $0.append($1) } }
      return (0..<ids.count / globalBatch).contains { step in
        let step = Set(ids[step * globalBatch..<(step + 1) * globalBatch])
        let sizes = ids.filter(step.contains).flatMap { id in zip(lengths, rolloutIDs).filter { $0.1 == id }.map(\.0) }
        let packs = firstFit(sizes, cap: cap * context).count
        return (packs + ranks * group - 1) / (ranks * group) * ranks * group > sizes.count
      }
    }
  }

  /// Random batches: rollouts with one to three samples each, interleaved.
  static func cases(_ count: Int) -> [Case] {
    var random = SeededGenerator(state: 7)
    return (0..<count).map { _ in
      var made = Case()
      made.ranks = [1, 2, 3, 4, 8].randomElement(using: &random)!
      made.context = Int.random(in: 1...2, using: &random)
      made.group = Int.random(in: 1...2, using: &random)
      made.globalBatch = Int.random(in: made.ranks * made.group...made.ranks * made.group + 20, using: &random)
      made.cap = Int.random(in: 20...200, using: &random)
      for rollout in 0..<made.globalBatch * Int.random(in: 1...3, using: &random) + Int.random(in: 0...3, using: &random) {
        for _ in 0..<Int.random(in: 1...3, using: &random) {
          made.rolloutIDs.append(rollout * 5)
          made.lengths.append(Int.random(in: 1...250, using: &random))
        }
      }
      let order = made.lengths.indices.shuffled(using: &random)
      made.lengths = order.map { made.lengths[$0] }
      made.rolloutIDs = order.map { made.rolloutIDs[$0] }
      return made
    }
  }

  @Test(arguments: [(false, false), (true, false), (true, true)])
  func everySampleOnceInEqualMicroBatchesUnderTheCap(balancesRanks: Bool, balancesPacks: Bool) throws {
    for made in Self.cases(300) {
      func make() throws(ScheduleError) -> DataParallelSchedule {
        try DataParallelSchedule(
          lengths: made.lengths, rolloutIDs: made.rolloutIDs, globalBatchSize: made.globalBatch,
          batching: balancesPacks ? .balanced(maxTokensPerDevice: made.cap) : .dynamic(maxTokensPerDevice: made.cap),
          dataParallelSize: made.ranks, contextParallelSize: made.context, microBatchGroup: made.group,
          workloads: balancesRanks ? made.lengths.map { Double($0 * $0) } : nil)
      }
      if made.cannotBeAligned {
        #expect(throws: ScheduleError.self) { try make() }
        continue
      }
      let schedule = try make()
      let rollouts = Set(made.rolloutIDs).count
      #expect(schedule.steps.count == rollouts / made.globalBatch)
      #expect(schedule.trailingRollouts == rollouts % made.globalBatch)
      var seen = schedule.trailingSamples
      for step in schedule.steps {
        #expect(step.microBatches.count == made.ranks)
        #expect(Set(step.microBatches.map(\.count)).count == 1)
        #expect(step.microBatchesPerRank % made.group == 0)
        let samples = step.microBatches.joined().joined()
        #expect(Set(samples.map { made.rolloutIDs[$0] }).count == made.globalBatch)
        for pack in step.microBatches.joined() {
          #expect(!pack.isEmpty)
          #expect(pack.count == 1 || pack.reduce(0) { $0 + made.lengths[$1] } <= made.cap * made.context)
        }
        seen += samples
      }
      #expect(seen.sorted() == Array(made.lengths.indices))
    }
  }

  @Test func fixedMicroBatchesKeepOrderAndSize() throws {
    let schedule = try DataParallelSchedule(
      lengths: Array(repeating: 9, count: 17), rolloutIDs: Array(0..<17), globalBatchSize: 8,
      batching: .fixed(microBatchSize: 2), dataParallelSize: 2)
    #expect(schedule.steps.map(\.microBatches) == [
      [[[0, 1], [4, 5]], [[2, 3], [6, 7]]], [[[8, 9], [12, 13]], [[10, 11], [14, 15]]],
    ])
    #expect(schedule.trailingSamples == [16])
  }

  @Test func impossibleSchedulesAreRefused() {
    func make(_ count: Int, _ globalBatch: Int, _ batching: MicroBatching, _ ranks: Int) throws {
      _ = try DataParallelSchedule(
        lengths: Array(repeating: 1, count: count), rolloutIDs: Array(0..<count), globalBatchSize: globalBatch,
        batching: batching, dataParallelSize: ranks)
    }
    #expect(throws: ScheduleError.self) { try make(3, 4, .dynamic(maxTokensPerDevice: 9), 1) }
    #expect(throws: ScheduleError.self) { try make(4, 4, .dynamic(maxTokensPerDevice: 9), 5) }
    #expect(throws: ScheduleError.self) { try make(6, 6, .fixed(microBatchSize: 2), 2) }
    #expect(throws: ScheduleError.self) { try make(6, 6, .fixed(microBatchSize: 0), 2) }
  }

  @Test func firstFitIsFirstFit() {
    #expect(firstFit([5, 6, 4, 11, 3, 1], cap: 10) == [[0, 2, 5], [1, 4], [3]])
    #expect(splitBins([[0, 1, 2]], into: 2, sizes: [5, 3, 4]) == [[0], [1, 2]])
    #expect(splitBins([[0, 1]], into: 5, sizes: [0, 0]) == [[0], [1]])
  }

  @Test func microBatchesOfEqualCostBeatFirstFit() {
    #expect(balancedFit([5, 1, 4, 2], weights: [25, 1, 16, 4], cap: 6, count: 2) == [[0, 1], [2, 3]])
    #expect(balancedFit([9, 9, 1], weights: [1, 1, 1], cap: 9, count: 1) == [[0], [1], [2]])
    var random = SeededGenerator(state: 5)
    for _ in 0..<100 {
      let lengths = (0..<40).map { _ in Int.random(in: 1...100, using: &random) }
      let costs = lengths.map { Double($0 * $0) }
      func largest(_ packs: [[Int]]) -> Double { packs.map { $0.reduce(0) { $0 + costs[$1] } }.max()! }
      let plain = firstFit(lengths, cap: 200)
      let packs = balancedFit(lengths, weights: costs, cap: 200, count: plain.count)
      #expect(packs.joined().sorted() == Array(lengths.indices))
      #expect(packs.allSatisfy { $0.reduce(0) { $0 + lengths[$1] } <= 200 })
      #expect(largest(packs) <= largest(plain))
    }
  }

  @Test func balancedSetsBeatDealingInTurn() {
    var random = SeededGenerator(state: 3)
    var (balanced, dealt) = (0.0, 0.0)
    for _ in 0..<200 {
      let ranks = Int.random(in: 2...8, using: &random)
      let weights = (0..<ranks * Int.random(in: 2...6, using: &random)).map { _ in Double.random(in: 1...100, using: &random) }
      func spread(_ sets: [[Int]]) -> Double {
        let sums = sets.map { $0.reduce(0) { $0 + weights[$1] } }
        return sums.max()! - sums.min()!
      }
      let sets = balancedPartition(weights, into: ranks)
      #expect(sets.joined().sorted() == Array(weights.indices))
      #expect(Set(sets.map(\.count)) == [weights.count / ranks])
      balanced += spread(sets)
      dealt += spread((0..<ranks).map { Array(stride(from: $0, to: weights.count, by: ranks)) })
    }
    #expect(balanced < dealt / 3)
    #expect(Set(balancedPartition([8, 7, 6, 5], into: 2)) == [[0, 3], [1, 2]])
  }

  @Test func stepsPerRolloutAndGlobalBatchSizeAgree() throws {
    func derived(_ steps: Int?, _ batch: Int?) throws -> Int {
      try globalBatchSize(rolloutBatchSize: 8, samplesPerPrompt: 4, stepsPerRollout: steps, globalBatchSize: batch)
    }
    #expect(try derived(2, nil) == 16)
    #expect(try derived(2, 16) == 16)
    #expect(try derived(nil, 20) == 20)
    for (steps, batch) in [(2, 8), (3, nil), (nil, nil), (nil, 33), (0, nil), (nil, 0)] as [(Int?, Int?)] {
      #expect(throws: ScheduleError.self) { try derived(steps, batch) }
    }
  }

  @Test func forwardCostOfAToyModel() {
    let cost = ForwardCost(
      layers: 2, hiddenSize: 16, queryDimension: 16, keyValueDimension: 16, intermediateSize: 64, vocabularySize: 32)
    #expect([1, 2, 10].map(cost.operations) == [17472, 35072, 180480])
  }
}

@Suite struct LossNormalizationTests {
  /// The weighted sums of any split of a step's samples add up to the mean over rollouts (or over tokens).
  @Test func weightsGiveTheMeanOverRollouts() {
    let (sums, ids) = ([4, 6, 0, 5], [0, 1, 2, 1])
    let siblings = rolloutMaskSums(sums, rolloutIDs: ids)
    #expect(siblings == [4, 11, 0, 11])
    let weights = lossWeights(maskSums: sums, rolloutMaskSums: siblings, rolloutCount: 3, normalization: .perRollout)
    // Every token's loss is 1: each rollout with trained tokens then contributes 1/3.
    #expect(abs(zip(weights, sums).reduce(0) { $0 + $1.0 * Double($1.1) } - 2.0 / 3) < 1e-12)
    let flat = lossWeights(maskSums: sums, rolloutMaskSums: siblings, rolloutCount: 3, normalization: .perToken)
    #expect(flat == Array(repeating: 1 / 16.0, count: 4))
  }
}

@Suite struct LearningRateScheduleTests {
  @Test func equalsTheIndependentTranscription() throws {
    let rows = try #require(JSONValue(parsing: Data(contentsOf: fixture("schedule/learning_rates.json"))).array)
    #expect(rows.count == 16)
    for row in rows {
      func number(_ key: String) -> Double { row[key]!.double! }
      let decay: LearningRateDecay =
        switch row["style"]!.string! {
        case "constant": .constant
        case "linear": .linear
        case "cosine": .cosine
        case "inverse-square-root": .inverseSquareRoot
        default:
          .warmupStableDecay(
            steps: number("wsd"), style: try #require(LearningRateDecay.AnnealingStyle(rawValue: row["anneal"]!.string!)))
        }
      let schedule = try LearningRateSchedule(
        initial: number("init"), peak: number("peak"), minimum: number("low"), warmupSteps: number("warmup"),
        decaySteps: number("end"), decay: decay)
      for (step, expected) in zip(row["steps"]!.array!, row["rates"]!.array!) {
        #expect(abs(schedule.rate(at: step.double!) - expected.double!) < 1e-15, "\(row.text()) step \(step)")
      }
    }
  }

  @Test func contradictionsAreRefused() {
    #expect(throws: ScheduleError.self) { try LearningRateSchedule(peak: 1, minimum: 2, decaySteps: 10) }
    #expect(throws: ScheduleError.self) { try LearningRateSchedule(initial: 2, peak: 1, decaySteps: 10) }
    #expect(throws: ScheduleError.self) { try LearningRateSchedule(peak: 1, warmupSteps: 10, decaySteps: 10) }
    #expect(throws: ScheduleError.self) { try LearningRateSchedule(peak: 1, decaySteps: 0) }
    #expect(throws: ScheduleError.self) {
      try LearningRateSchedule(peak: 1, decaySteps: 10, decay: .warmupStableDecay(steps: 11, style: .linear))
    }
  }
}

@Suite struct TrainBatchTests {
  @Test func travelsUnchangedAndIsSelectedByRank() throws {
    var batch = TrainBatch(rolloutID: 3)
    batch.tokens = [1, 2, 3, 4, 5, 6, -7]
    batch.totalLengths = [2, 4, 1]
    batch.responseLengths = [1, 3, 0]
    batch.lossMasks = [1, 0, 1, 1]
    (batch.rawRewards, batch.rewards) = ([1, 0, 0.5], [0.1, -0.1, 0])
    batch.rolloutLogProbs = [-0.5, -1, -2, -.infinity]
    (batch.groupIDs, batch.rolloutIDs, batch.rolloutMaskSums) = ([0, 0, 1], [7, 8, 9], [1, 2, 1])
    (batch.sampleIndices, batch.truncated, batch.weightVersions) = ([4, 5, 6], [false, true, false], ["1", "1", "2"])
    #expect(try JSONDecoder().decode(TrainBatch.self, from: JSONEncoder().encode(batch)) == batch)
    let part = batch.selecting([2, 1])
    #expect(part.tokens == [-7, 3, 4, 5, 6])
    #expect(part.lossMasks == [0, 1, 1])
    #expect(part.rolloutLogProbs == [-1, -2, -.infinity])
    #expect(part.teacherLogProbs == nil)
    #expect(part.tokenRanges == [0..<1, 1..<5])
    #expect((part.rolloutIDs, part.sampleIndices) == ([9, 8], [6, 5]))
    #expect(batch.selecting([0, 1, 2]) == batch)
  }
}
