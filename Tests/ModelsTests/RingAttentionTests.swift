import Models
import Parallelism
import TestSupport
import Testing
import Torch

/// Zigzag ring attention against attention over whole sequences, with gradients.
@Suite struct RingAttentionTests {
  private struct Whole: Sendable {
    var lengths: [Int]

    /// Query, key, value and the output's gradient for all tokens, the same on every rank.
    func tensors() -> [Tensor] {
      let generator = Generator(seed: 7)
      let tokens = lengths.reduce(0, +)
      return [4, 2, 2, 4].map { Tensor.randn([tokens, $0, 8], generator: generator) }
    }

    /// Rows of all tokens that a rank holds; its sequences are multiples of 2·size long.
    func rows(_ rank: Int, of size: Int) -> Tensor {
      var (rows, start) = ([Int](), 0)
      for length in lengths {
        let chunk = length / (2 * size)
        rows += start + rank * chunk..<start + (rank + 1) * chunk
        rows += start + (2 * size - 1 - rank) * chunk..<start + (2 * size - rank) * chunk
        start += length
      }
      return Tensor(rows)
    }
  }

  private static func run(
    _ tensors: [Tensor], lengths: [Int], _ parallel: ParallelContext, _ implementation: AttentionImplementation,
    _ rule: RuleCase = RuleCase()
  ) -> [Tensor] {
    let sinks = rule.sinks(4)
    let leaves = tensors[..<3].map { $0.clone() } + (sinks.map { [$0] } ?? [])
    for leaf in leaves { leaf.requiresGrad = true }
    let output = trainingAttention(lengths: lengths, parallel: parallel, implementation: implementation)
      .attend(query: leaves[0], key: leaves[1], value: leaves[2], layer: 0, rule: rule.rule(sinks))
    output.backward(gradient: tensors[3])
    return [output.detached()] + leaves.map { $0.grad! }
  }

  @Test(arguments: [2, 3, 4], [AttentionImplementation.sdpa, .eager])
  func equalsWholeAttention(size: Int, implementation: AttentionImplementation) async throws {
    let whole = Whole(lengths: [2 * size * 3, 2 * size, 2 * size * 5, 2 * size * 3])
    _ = try await runRanks(size) { rank, store in
      let parallel = try ParallelContext(
        ParallelLayout(worldSize: size, contextParallelSize: size), rank: rank, device: .cpu
      ) { try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(30)) }
      let rows = whole.rows(rank, of: size)
      let tensors = whole.tensors()
      let expected = Self.run(tensors, lengths: whole.lengths, .single(), .eager)
      let found = Self.run(
        tensors.map { $0.indexSelect(0, index: rows) }, lengths: whole.lengths.map { $0 / size }, parallel, implementation)
      for (name, (found, expected)) in zip(["output", "by query", "by key", "by value"], zip(found, expected)) {
        let error = (found - expected.indexSelect(0, index: rows)).abs().max().item()
        #expect(error < 2e-5, "\(name) on rank \(rank) of \(size): \(error)")
      }
    }
  }

  /// Windows that end in the same chunk, in another rank's and beyond; soft caps; sinks, whose gradient is the sum over ranks.
  @Test(arguments: [2, 3], RuleCase.all) func rulesAreThoseOfWholeAttention(size: Int, rule: RuleCase) async throws {
    let whole = Whole(lengths: [2 * size * 3, 2 * size, 2 * size * 5, 2 * size * 3])
    let results = try await runRanks(size) { rank, store in
      let parallel = try ParallelContext(
        ParallelLayout(worldSize: size, contextParallelSize: size), rank: rank, device: .cpu
      ) { try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(30)) }
      let rows = whole.rows(rank, of: size)
      let tensors = whole.tensors()
      let expected = Self.run(tensors, lengths: whole.lengths, .single(), .eager, rule)
      let found = Self.run(
        tensors.map { $0.indexSelect(0, index: rows) }, lengths: whole.lengths.map { $0 / size }, parallel, .sdpa, rule)
      for (name, (found, expected)) in zip(["output", "by query", "by key", "by value"], zip(found, expected)) {
        let error = (found - expected.indexSelect(0, index: rows)).abs().max().item()
        #expect(error < 2e-5, "\(name) on rank \(rank) of \(size): \(error)")
      }
      let bySinks: [[Float]] = [found, expected].map { $0.count > 4 ? $0[4].array() : [] }
      return bySinks
    }
    for (head, expected) in results[0][1].enumerated() {
      let found = results.reduce(0) { $0 + $1[0][head] }
      #expect(abs(found - expected) < 2e-5, "by the sink of head \(head): \(found), not \(expected)")
    }
  }
}
