/// Counts of observations below some bounds, as Prometheus keeps them.
package struct Histogram: Sendable, Equatable {
  /// Upper bounds, ascending; above the last there is one bucket more.
  package let bounds: [Double]
  package private(set) var counts: [Int]
  package private(set) var sum = 0.0

  package init(bounds: [Double]) {
    self.bounds = bounds
    counts = Array(repeating: 0, count: bounds.count + 1)
  }

  package var count: Int { counts.reduce(0, +) }

  /// - Parameter times: how often the value was seen.
  package mutating func observe(_ value: Double, times: Int = 1) {
    guard value.isFinite, times > 0 else { return }
    counts[bounds.firstIndex { value <= $0 } ?? bounds.count] += times
    sum += value * Double(times)
  }
}
