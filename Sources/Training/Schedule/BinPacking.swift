/// Packs items into bins in the order they come, each into the first bin with room. An item above the cap has a bin of
/// its own.
/// - Returns: Positions in `sizes`, one array a bin.
public func firstFit(_ sizes: [Int], cap: Int) -> [[Int]] {
  var bins: [[Int]] = []
  var filled: [Int] = []
  for (item, size) in sizes.enumerated() {
    if let bin = filled.firstIndex(where: { $0 + size <= cap }) {
      bins[bin].append(item)
      filled[bin] += size
    } else {
      bins.append([item])
      filled.append(size)
    }
  }
  return bins
}

/// Packs items into at least `count` bins of about equal weight: the heaviest first, each into the lightest bin with room.
/// An item above the cap has a bin of its own.
/// - Returns: Positions in `sizes`, ascending, one array a bin; no bin is empty.
public func balancedFit(_ sizes: [Int], weights: [Double], cap: Int, count: Int) -> [[Int]] {
  var bins = Array(repeating: (items: [Int](), size: 0, weight: 0.0), count: count)
  for item in sizes.indices.sorted(by: { (-weights[$0], $0) < (-weights[$1], $1) }) {
    let open = bins.indices.filter { bins[$0].items.isEmpty || bins[$0].size + sizes[item] <= cap }
    if let bin = open.min(by: { (bins[$0].weight, $0) < (bins[$1].weight, $1) }) {
      bins[bin].items.append(item)
      bins[bin].size += sizes[item]
      bins[bin].weight += weights[item]
    } else {
      bins.append(([item], sizes[item], weights[item]))
    }
  }
  return bins.map { $0.items.sorted() }.filter { !$0.isEmpty }
}

/// Splits the fullest bin that holds several items into two halves of about equal size, until there are `count` bins.
/// - Returns: Fewer bins than `count` when every bin is down to one item.
public func splitBins(_ bins: [[Int]], into count: Int, sizes: [Int]) -> [[Int]] {
  var bins = bins
  var filled = bins.map { $0.reduce(0) { $0 + sizes[$1] } }
  while bins.count < count {
    guard let fullest = bins.indices.filter({ bins[$0].count > 1 }).max(by: { filled[$0] < filled[$1] }) else { break }
    // The longest item first, always into the emptier half.
    var halves: [[Int]] = [[], []]
    var sums = [0, 0]
    for item in bins[fullest].sorted(by: { (-sizes[$0], $0) < (-sizes[$1], $1) }) {
      let half = halves[0].isEmpty || sums[0] < sums[1] ? 0 : 1
      halves[half].append(item)
      sums[half] += sizes[item]
    }
    (bins[fullest], filled[fullest]) = (halves[0].sorted(), sums[0])
    bins.append(halves[1].sorted())
    filled.append(sums[1])
  }
  return bins
}

/// Divides items into `count` sets of the same number of items and about the same total weight, by the largest
/// differencing method (Karmarkar and Karp, 1982).
/// - Parameter weights: As many as a multiple of `count`.
/// - Returns: Positions in `weights`, ascending in each set.
public func balancedPartition(_ weights: [Double], into count: Int) -> [[Int]] {
  precondition(count > 0 && weights.count % count == 0, "\(weights.count) items cannot be divided evenly into \(count) sets")
  typealias Subset = (sum: Double, items: [Int])
  // A candidate is a division of some of the items, heaviest set first; its spread is what is still unbalanced.
  var candidates: [[Subset]] = []
  let ascending = weights.indices.sorted { (weights[$0], $0) < (weights[$1], $1) }
  for start in stride(from: 0, to: ascending.count, by: count) {
    candidates.append(ascending[start..<start + count].reversed().map { (weights[$0], [$0]) })
  }
  func spread(_ candidate: [Subset]) -> Double { candidate[0].sum - candidate[count - 1].sum }
  func popMostUnbalanced() -> [Subset] {
    candidates.remove(at: candidates.indices.max { spread(candidates[$0]) < spread(candidates[$1]) }!)
  }
  while candidates.count > 1 {
    let (a, b) = (popMostUnbalanced(), popMostUnbalanced())
    let merged: [Subset] = (0..<count).map { (a[$0].sum + b[count - 1 - $0].sum, a[$0].items + b[count - 1 - $0].items) }
    candidates.append(merged.sorted { $0.sum > $1.sum })
  }
  return candidates.first?.map { $0.items.sorted() } ?? Array(repeating: [], count: count)
}
