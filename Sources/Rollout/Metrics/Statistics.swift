/// 0 of nothing.
func mean(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count) }

/// `prefix/mean`, `/median`, `/max` and `/min`; empty for no values.
func statistics(_ values: [Double], _ prefix: String) -> [String: Double] {
  guard !values.isEmpty else { return [:] }
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return [
    prefix + "/mean": mean(values),
    prefix + "/median": sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
    prefix + "/max": sorted.last!,
    prefix + "/min": sorted[0],
  ]
}

/// The chance that at least one of k responses is right (reward 1), for k = 1, 2, 4, … up to the largest group: the unbiased
/// estimator of Chen et al. (2021), averaged over the groups that have k samples.
public func passRates(_ rewards: [Double], groupIDs: [Int]) -> [(k: Int, rate: Double)] {
  var groups: [Int: (count: Int, right: Int)] = [:]
  for (reward, id) in zip(rewards, groupIDs) {
    groups[id, default: (0, 0)].count += 1
    if reward == 1 { groups[id]!.right += 1 }
  }
  let largest = groups.values.map(\.count).max() ?? 0
  return sequence(first: 1) { $0 * 2 }.prefix { $0 <= largest }.map { k in
    // 1 − C(wrong, k) / C(count, k), as a product that does not overflow.
    let rates = groups.values.filter { $0.count >= k }.map { group in
      1 - (0..<k).reduce(1.0) { $0 * Double(max(group.count - group.right - $1, 0)) / Double(group.count - $1) }
    }
    return (k, mean(rates))
  }
}
