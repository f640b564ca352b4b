extension String {
  /// The one of `candidates` that is a typing mistake away: at most about a third of its letters differ.
  func nearest(in candidates: [String]) -> String? {
    let distances = candidates.map { (name: $0, distance: distance(to: $0)) }
    guard let best = distances.min(by: { $0.distance < $1.distance }), best.distance <= max(1, (count + 1) / 3) else { return nil }
    return best.name
  }

  /// Letters to insert, delete or replace (Levenshtein, 1966).
  func distance(to other: String) -> Int {
    let (a, b) = (Array(utf8), Array(other.utf8))
    var row = Array(0...b.count)
    for i in 0..<a.count {
      var diagonal = row[0]
      row[0] = i + 1
      for j in 0..<b.count {
        let cost = Swift.min(diagonal + (a[i] == b[j] ? 0 : 1), row[j] + 1, row[j + 1] + 1)
        (diagonal, row[j + 1]) = (row[j + 1], cost)
      }
    }
    return row[b.count]
  }
}
