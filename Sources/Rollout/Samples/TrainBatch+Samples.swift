import Images
import JSON
import Training

extension TrainBatch {
  /// What trainers need of finished samples.
  /// - Parameters:
  ///   - rewards: The post-processed reward of each sample.
  ///   - rewardKey: Which of several raw rewards to report.
  /// - Throws: `SampleError` naming the sample that has no reward, or no log-probabilities while others do.
  public init(
    rolloutID: Int, samples: [Sample], rewards: [Double], rewardKey: String? = nil
  ) throws(SampleError) {
    self.init(rolloutID: rolloutID)
    let hasLogProbs = samples.contains { $0.rolloutLogProbs != nil }
    let hasTeacher = samples.contains { $0.teacherLogProbs != nil }
    if hasLogProbs { rolloutLogProbs = [] }
    if hasTeacher { teacherLogProbs = [] }
    if samples.contains(where: { $0.rolloutRoutedExperts != nil }) { routedExperts = [] }
    if samples.contains(where: { !$0.images.isEmpty }) { images = [] }
    // Samples without a rollout of their own get ids above all others.
    var nextID = (samples.compactMap(\.rolloutID).max() ?? -1) + 1
    var maskSums: [Int] = []
    for (position, (sample, reward)) in zip(samples, rewards).enumerated() {
      let name = "sample \(sample.index.map(String.init) ?? "at position \(position)")"
      guard let raw = sample.reward else { throw SampleError("\(name) has no reward") }
      let mask = sample.effectiveLossMask
      tokens += sample.tokens.map(Int32.init)
      totalLengths.append(Int32(sample.tokens.count))
      responseLengths.append(Int32(sample.responseLength))
      lossMasks += mask.map(UInt8.init)
      rawRewards.append(Float(try raw.value(key: rewardKey)))
      self.rewards.append(Float(reward))
      func extend(_ values: inout [Float]?, by more: [Float]?, _ field: String) throws(SampleError) {
        guard values != nil else { return }
        guard let more = more ?? (sample.responseLength == 0 ? [] : nil) else {
          throw SampleError("\(name) has no \(field), but other samples of the rollout do")
        }
        values! += more
      }
      try extend(&rolloutLogProbs, by: sample.rolloutLogProbs, "rollout_log_probs")
      try extend(&teacherLogProbs, by: sample.teacherLogProbs, "teacher_log_probs")
      if routedExperts != nil {
        guard let bytes = sample.rolloutRoutedExperts, bytes.count % 4 == 0 else {
          throw SampleError(
            "\(name) has no rollout_routed_experts of 4 bytes each, but other samples of the rollout have some")
        }
        let experts: [Int32] = array(of: bytes)
        let rows = sample.tokens.count - 1
        guard rows > 0 ? experts.count % rows == 0 : experts.isEmpty else {
          throw SampleError("\(name) has \(experts.count) rollout_routed_experts, not as many for each of its \(rows) tokens but the last")
        }
        routedExperts! += experts
      }
      if images != nil {
        do { images!.append(try sample.encodedImages()) } catch { throw SampleError("\(name): \(error)") }
      }
      groupIDs.append(sample.groupIndex ?? position)
      if let id = sample.rolloutID { rolloutIDs.append(id) } else {
        rolloutIDs.append(nextID)
        nextID += 1
      }
      maskSums.append(mask.reduce(0, +))
      sampleIndices.append(sample.index ?? position)
      truncated.append(sample.status == .truncated)
      weightVersions.append(sample.weightVersions.last ?? "")
    }
    rolloutMaskSums = Training.rolloutMaskSums(maskSums, rolloutIDs: rolloutIDs).map(Int32.init)
  }
}
