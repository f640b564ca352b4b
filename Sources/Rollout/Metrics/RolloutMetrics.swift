extension RolloutResult {
  /// What the rollout reports, under slime's names.
  /// - Parameter devices: Devices of the rollout engines, which the throughput is divided by.
  public func metrics(rewardKey: String? = nil, devices: Int = 1) throws -> [String: Double] {
    let seconds = max(seconds, 1e-9)
    let lengths = samples.map { Double($0.responseLength) }
    var metrics = try rolloutMetrics(of: samples, rewardKey: rewardKey)
    metrics["perf/rollout_time"] = self.seconds
    metrics["perf/generation_time"] = generationSeconds
    metrics["perf/reward_time"] = rewardSeconds
    metrics["perf/tokens_per_gpu_per_sec"] = lengths.reduce(0, +) / seconds / Double(devices)
    metrics["perf/longest_sample_tokens_per_sec"] = (lengths.max() ?? 0) / seconds
    for (reason, count) in dropped { metrics["rollout/dynamic_filter/drop_\(reason)"] = Double(count) }
    return metrics
  }
}

/// The metrics of a rollout that follow from its samples alone.
public func rolloutMetrics(of samples: [Sample], rewardKey: String? = nil) throws -> [String: Double] {
  let rewards = try samples.map { sample in
    guard let reward = sample.reward else { throw SampleError("sample \(sample.index ?? 0) has no reward") }
    return try reward.value(key: rewardKey)
  }
  var metrics = statistics(samples.map { Double($0.responseLength) }, "rollout/response_len")
  metrics["rollout/raw_reward"] = mean(rewards)
  metrics["rollout/truncated_ratio"] = mean(samples.map { $0.status == .truncated ? 1 : 0 })
  metrics["rollout/repetition_frac"] = mean(samples.map { hasRepetition($0.response) ? 1 : 0 })
  var groups: [Int: [Double]] = [:]
  for (position, (sample, reward)) in zip(samples, rewards).enumerated() {
    groups[sample.groupIndex ?? -1 - position, default: []].append(reward)
  }
  for group in groups.values where group.allSatisfy({ $0 == group[0] }) {
    metrics["rollout/zero_std/count_\(oneDecimal(group[0]))", default: 0] += 1
  }
  let cached = samples.reduce(0) { $0 + $1.prefixCache.cachedTokens }
  let prompted = samples.reduce(0) { $0 + $1.prefixCache.promptTokens }
  if prompted > 0 { metrics["rollout/prefix_cache_hit_rate"] = Double(cached) / Double(prompted) }
  return metrics
}
