import Foundation
import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// The routers' losses against their definitions, by central differences in double precision, on any division of tokens.
@Suite struct RouterLossTests {
  static let lengths = [5, 9, 2, 6]
  static let (experts, choices, hidden) = (4, 2, 6)
  static var input: Tensor { Tensor.randn([lengths.reduce(0, +), hidden], generator: Generator(seed: 11)) }
  static let step = RouterLosses.StepSize(tokens: 40, sequences: 7)

  static var coefficients: RouterLosses.Coefficients {
    var coefficients = RouterLosses.Coefficients()
    (coefficients.balance, coefficients.sequenceBalance, coefficients.z) = (0.3, 0.2, 0.05)
    return coefficients
  }

  static func mixture(_ score: MixtureConfiguration.Score) -> MixtureConfiguration {
    var mixture = MixtureConfiguration(expertCount: experts, expertsPerToken: choices, intermediateSize: 4, layers: [0])
    mixture.score = score
    return mixture
  }

  /// The definitions, literally. `weight`: `[experts, hidden]`, row by row.
  static func losses(_ weight: [Double], _ score: MixtureConfiguration.Score) -> (balance: Double, sequence: Double, z: Double) {
    let rows: [Double] = input.array()
    var (balance, sequence, z) = (0.0, 0.0, 0.0)
    var all: [(scores: [Double], chosen: [Int])] = []
    for token in 0..<rows.count / hidden {
      let logits = (0..<experts).map { expert in
        (0..<hidden).reduce(0) { $0 + rows[token * hidden + $1] * weight[expert * hidden + $1] }
      }
      let logSum = log(logits.reduce(0) { $0 + exp($1) })
      z += logSum * logSum / Double(step.tokens)
      var scores = logits.map { score == .sigmoid ? 1 / (1 + exp(-$0)) : exp($0 - logSum) }
      let sum = scores.reduce(0, +)
      scores = scores.map { $0 / sum }
      all.append((scores, Array(logits.indices.sorted { logits[$0] > logits[$1] }.prefix(choices))))
    }
    func balanced(_ tokens: ArraySlice<(scores: [Double], chosen: [Int])>) -> Double {
      let n = Double(tokens.count)
      return (0..<experts).reduce(0) { sum, expert in
        let count = Double(tokens.count { $0.chosen.contains(expert) })
        return sum + count * tokens.reduce(0) { $0 + $1.scores[expert] }
      } * Double(experts) / (Double(choices) * n * n)
    }
    balance = balanced(all[...]) * Double(all.count) / Double(step.tokens)
    var start = 0
    for length in lengths {
      sequence += balanced(all[start..<start + length]) / Double(step.sequences)
      start += length
    }
    return (balance, sequence, z)
  }

  static func total(_ weight: [Double], _ score: MixtureConfiguration.Score) -> Double {
    let parts = losses(weight, score)
    return 0.3 * parts.balance + 0.2 * parts.sequence + 0.05 * parts.z
  }

  /// What one rank adds: its gradient, and its parts of the losses.
  static func run(
    _ score: MixtureConfiguration.Score, _ parallel: ParallelContext, coefficients: RouterLosses.Coefficients = coefficients,
    sequences: Range<Int> = 0..<lengths.count
  ) -> (gradient: [Double], sums: [String: Double]) {
    let context = parallel.context
    var (rows, positions, localLengths, start) = ([Int](), [Int](), [Int](), lengths[..<sequences.lowerBound].reduce(0, +))
    for length in lengths[sequences] {
      // Equal parts, of which the last may hold padding.
      let part = (length + context.size - 1) / context.size
      let own = context.rank * part..<(context.rank + 1) * part
      positions += own
      rows += own.map { start + min($0, length - 1) }
      localLengths.append(part)
      start += length
    }
    let ranks = parallel.sequenceParallel ? parallel.tensor.size : 1
    let padding = (ranks - rows.count % ranks) % ranks
    positions += 0..<padding
    rows += repeatElement(0, count: padding)
    if padding > 0 { localLengths.append(padding) }
    let losses = RouterLosses(
      coefficients, localLengths: localLengths, positions: Tensor(positions), sequenceLengths: Array(lengths[sequences]),
      step: step, parallel: parallel)
    let router = RouterTests.router(mixture(score), seed: 12, parallel: parallel)
    router.weight.tensor.requiresGrad = true
    let own = input.indexSelect(0, index: parallel.routedPart(Tensor(rows)))
    let weights = router(own, context: RouterTests.context(nil, losses)).weights
    // Only the losses' gradient is left.
    (weights * 0).sum().backward()
    let sums: [Float] = losses.sums.array()
    return (
      router.weight.tensor.grad!.array(),
      Dictionary(uniqueKeysWithValues: zip(coefficients.names, sums.map(Double.init)))
    )
  }

  @Test(arguments: [MixtureConfiguration.Score.softmax, .sigmoid]) func gradientsAreThoseOfTheDefinitions(
    _ score: MixtureConfiguration.Score
  ) {
    let weight: [Double] = RouterTests.router(Self.mixture(score), seed: 12).weight.tensor.array()
    let found = Self.run(score, .single())
    let parts = Self.losses(weight, score)
    for (name, wanted) in [
      ("load_balancing_loss", parts.balance), ("seq_load_balancing_loss", parts.sequence), ("z_loss", parts.z),
    ] {
      #expect(abs((found.sums[name] ?? .nan) - wanted) < 1e-5 * wanted, "\(name)")
    }
    for i in weight.indices {
      var (up, down) = (weight, weight)
      up[i] += 1e-5
      down[i] -= 1e-5
      let wanted = (Self.total(up, score) - Self.total(down, score)) / 2e-5
      #expect(abs(found.gradient[i] - wanted) < 1e-5, "weight \(i): \(found.gradient[i]), not \(wanted)")
    }
  }

  @Test(arguments: [(2, 1), (1, 2), (2, 2), (1, 3)]) func ranksAddUp(tensor: Int, context: Int) async throws {
    let layout = try ParallelLayout(
      worldSize: tensor * context, tensorParallelSize: tensor, sequenceParallel: true, contextParallelSize: context,
      expertTensorParallelSize: 1)
    let parts = try await runRanks(layout.worldSize) { rank, store in
      let parallel = try ParallelContext(layout, rank: rank, device: .cpu) {
        try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(20))
      }
      return Self.run(.softmax, parallel)
    }
    let wanted = Self.run(.softmax, .single())
    for i in wanted.gradient.indices {
      #expect(abs(parts.reduce(0) { $0 + $1.gradient[i] } - wanted.gradient[i]) < 1e-6)
    }
    for (name, value) in wanted.sums {
      #expect(abs(parts.reduce(0) { $0 + $1.sums[name]! } - value) < 1e-5, "\(name)")
    }
  }

  /// Two micro-batches or one: the losses of sequences and tokens do not notice.
  @Test func packingDoesNotMatter() {
    var coefficients = Self.coefficients
    coefficients.balance = 0
    let whole = Self.run(.softmax, .single(), coefficients: coefficients)
    let parts = [0..<1, 1..<4].map { Self.run(.softmax, .single(), coefficients: coefficients, sequences: $0) }
    for i in whole.gradient.indices {
      #expect(abs(parts.reduce(0) { $0 + $1.gradient[i] } - whole.gradient[i]) < 1e-6)
    }
    #expect(Set(whole.sums.keys) == ["seq_load_balancing_loss", "z_loss"])
  }
}
