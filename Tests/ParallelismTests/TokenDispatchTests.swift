import Parallelism
import TestSupport
import Testing
import Torch

/// Tokens at their experts and back, on any division of experts over ranks, with gradients.
@Suite struct TokenDispatchTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var expertSize = 1
    var splitSize = 1
    var copies = 1
    /// Tokens of each rank.
    var tokens: [Int]
    /// Experts that tokens choose from; nil: all.
    var chosen: [Int]?

    var worldSize: Int { expertSize * splitSize * copies }
    var testDescription: String { "ep\(expertSize) etp\(splitSize) edp\(copies), \(tokens) tokens, to \(chosen ?? [])" }
  }

  static let cases = [
    Case(tokens: [7]), Case(tokens: [3], chosen: [5, 2]),
    Case(expertSize: 2, tokens: [4, 9]), Case(expertSize: 4, tokens: [4, 9, 1, 6]), Case(splitSize: 2, tokens: [5, 3]),
    Case(expertSize: 2, splitSize: 2, tokens: [5, 3, 8, 1]), Case(expertSize: 2, copies: 2, tokens: [5, 3, 8, 1]),
    Case(splitSize: 3, tokens: [1, 7, 2]), Case(expertSize: 4, splitSize: 2, tokens: [1, 2, 3, 4, 5, 6, 7, 8]),
    // Ranks that get no row, and with two parts a pair of them.
    Case(expertSize: 4, tokens: [4, 9, 1, 6], chosen: [3, 2]), Case(expertSize: 2, splitSize: 2, tokens: [2, 1, 1, 3], chosen: [0, 1]),
  ]

  private static let (expertCount, choices, width) = (8, 2, 5)

  @Test(arguments: cases) func everyTokenMeetsItsExperts(_ test: Case) async throws {
    _ = try await runRanks(test.worldSize) { rank, store in
      let layout = try ParallelLayout(
        worldSize: test.worldSize, expertParallelSize: test.expertSize, expertTensorParallelSize: test.splitSize)
      let parallel = try ParallelContext(layout, rank: rank, device: .cpu) {
        try .gloo($0, store: store, rank: $1, size: $2, timeout: .seconds(20))
      }
      let generator = Generator(seed: UInt64(rank))
      let count = test.tokens[rank]
      let tokens = Tensor.randn([count, Self.width], generator: generator)
      tokens.requiresGrad = true
      let experts = Tensor((0..<count).flatMap { token -> [Int] in
        let pool = test.chosen ?? Array(0..<Self.expertCount)
        return (0..<Self.choices).map { pool[(token * 3 + rank + $0 * (pool.count - 1)) % pool.count] }
      }, shape: [count, Self.choices])

      let dispatch = TokenDispatch(experts, expertCount: Self.expertCount, parallel: parallel)
      let rows = dispatch.dispatched(tokens)
      let local = Self.expertCount / test.expertSize
      #expect(dispatch.groups.hostCounts.count == local)
      #expect(dispatch.groups.ends.array(Int32.self).last.map { Int($0) } == rows.size(0))
      // Expert e multiplies by e + 1; each of the ranks that split it adds a share of that.
      let factors = Tensor.arange(local, dtype: .float32) + (parallel.expert.rank * local + 1)
      let share = Float(parallel.expertTensor.rank + 1) / Float((1...test.splitSize).reduce(0, +))
      let outputs = dispatch.collected(
        rows * factors.repeatInterleave(dispatch.groups.counts).unsqueeze(1) * Double(share))

      let wanted = tokens.detached().unsqueeze(1) * (experts.to(dtype: .float32) + 1).unsqueeze(2)
      #expect(outputs.shape == [count, Self.choices, Self.width])
      #expect((outputs - wanted).abs().max().item() < 1e-5)
      let gradient = Tensor.randn(outputs.shape, generator: generator)
      outputs.backward(gradient: gradient)
      let wantedGradient = (gradient * (experts.to(dtype: .float32) + 1).unsqueeze(2)).sum([1])
      #expect((tokens.grad! - wantedGradient).abs().max().item() < 1e-5)
    }
  }

  /// A dispatch is the same operation in every run: nothing is added up in an order that may change.
  @Test func rowsOfAnExpertKeepTheOrderOfTokens() {
    let experts = Tensor([1, 0, 1, 2, 0, 1], shape: [3, 2])
    let dispatch = TokenDispatch(experts, expertCount: 4, parallel: .single())
    let rows = dispatch.dispatched(Tensor([Float(10), 20, 30], shape: [3, 1]))
    #expect(rows.array(Float.self) == [10, 30, 10, 20, 30, 20])
    #expect(dispatch.groups.hostCounts == [2, 3, 1, 0])
  }

  @Test func addedLossesChangeGradientsOnly() {
    let x = Tensor([Float(1), 2])
    x.requiresGrad = true
    let y = (x * 3).addingGradient(of: (x * x).sum() * 0.5)
    #expect(y.array(Float.self) == [3, 6])
    (y * Tensor([Float(1), 10])).sum().backward()
    #expect(x.grad!.array(Float.self) == [3 + 1, 30 + 2])
  }
}
