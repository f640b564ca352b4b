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

  /// Values of each sample's response tokens, by its place in the whole batch; none where they are not to be told.
  func values(_ values: [Float]?, isTold: Bool) -> [SampleValues] {
    guard isTold, let values else { return [] }
    return zip(order, batch.responseRanges).map { SampleValues(sample: $0, values: Array(values[$1])) }
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
