import Inference
import Testing

@Test func noiseIsAFunctionOfSeedPositionAndColumn() {
  let row = SamplingNoise(seed: 7, position: 3)
  #expect(row.uniforms(count: 5) == (0..<5).map { SamplingNoise(seed: 7, position: 3).uniform(column: $0) })
  var seen: Set<Double> = []
  for seed in [-1, 0, 1, 2, .max, .min] {
    for position in 0..<20 { seen.formUnion(SamplingNoise(seed: seed, position: position).uniforms(count: 20)) }
  }
  #expect(seen.count == 6 * 20 * 20)
}

/// Mean 1/2, variance 1/12, each of 64 bins equally full (chi-squared, 63 degrees: 5 standard deviations is 63 + 5·√126),
/// and neighbours in column, position and seed uncorrelated.
@Test func noiseIsUniformAndIndependent() {
  let count = 1 << 16
  let rows = [(1, 0), (1, 1), (2, 0)].map { SamplingNoise(seed: $0.0, position: $0.1).uniforms(count: count) }
  for row in rows {
    #expect(row.allSatisfy { $0 > 0 && $0 < 1 })
    let mean = row.reduce(0, +) / Double(count)
    let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(count)
    #expect(abs(mean - 0.5) < 0.006 && abs(variance - 1 / 12) < 0.002)
    var bins = Array(repeating: 0.0, count: 64)
    for value in row { bins[Int(value * 64)] += 1 }
    let expected = Double(count) / 64
    #expect(bins.reduce(0) { $0 + ($1 - expected) * ($1 - expected) / expected } < 120)
  }
  func correlation(_ a: some Collection<Double>, _ b: some Collection<Double>) -> Double {
    zip(a, b).reduce(0) { $0 + ($1.0 - 0.5) * ($1.1 - 0.5) } / Double(min(a.count, b.count)) * 12
  }
  let pairs = [
    correlation(rows[0], rows[1]), correlation(rows[0], rows[2]), correlation(rows[0], rows[0].dropFirst()),
  ]
  #expect(pairs.allSatisfy { abs($0) < 0.02 })
}

@Test func extremesStayInsideTheOpenInterval() {
  for position in 0..<2000 {
    for value in SamplingNoise(seed: position, position: position).uniforms(count: 50) {
      #expect(value >= 0x1p-53 && value <= 1 - 0x1p-53)
    }
  }
}

/// Computed with Python's integers from the formula in the documentation.
@Test func noiseIsTheDocumentedFormula() {
  #expect(SamplingNoise(seed: 0, position: 0).uniform(column: 0) == 0.11260056966858045)
  #expect(SamplingNoise(seed: 42, position: 7).uniform(column: 150_000) == 0.3170758037371896)
  #expect(SamplingNoise(seed: -3, position: 1).uniform(column: 2) == 0.2205253478518584)
}
