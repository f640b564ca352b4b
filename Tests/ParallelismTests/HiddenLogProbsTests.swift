import Parallelism
import TestSupport
import Testing
import Torch

/// What ranks that hold parts of the vocabulary know of rows, put together.
@Suite struct HiddenLogProbsTests {
  @Test(arguments: [1, 2, 3]) func partsOfTheVocabularyAreMerged(ranks: Int) async throws {
    let (rows, columns, temperature) = (7, 12, 0.7)
    _ = try await runRanks(ranks) { rank, store in
      let group = try ProcessGroup.gloo("vocabulary", store: store, rank: rank, size: ranks, timeout: .seconds(20))
      let logits = Tensor.randn([rows, columns], generator: Generator(seed: 3)) * 20
      let targets = Tensor((0..<rows).map { $0 * 5 % columns })
      let whole = vocabularyLogProbs(
        logits: logits, from: 0, targets: targets, temperature: temperature, group: .single("one"))

      let width = columns / ranks
      let z = logits.narrow(1, start: rank * width, length: width) / temperature
      let most = z.amax([1], keepdim: true)
      let below = z - most
      let local = targets - rank * width
      let isHere = local.ge(0).logicalAnd(local.lt(width)).to(dtype: .float32)
      let chosen = z.gather(1, index: local.clamped(0, max: width - 1).unsqueeze(1)).squeeze(1) * isHere
      let merged = HiddenLogProbs.merged(
        Tensor.stack([most.squeeze(1), below.exp().sum([1]), (below.exp() * below).sum([1]), chosen]), group)
      #expect((merged.logProbs - whole.logProbs).abs().max().item() < 1e-4)
      #expect((merged.entropies - whole.entropy).abs().max().item() < 1e-4)
      #expect((merged.logSums - (logits / temperature).logsumexp([1])).abs().max().item() < 1e-4)
    }
  }

  @Test func rowsAreDividedSoThatTheLastAreMost() {
    let bytesPerRow = 2 * 151_936
    for rows in [1, 255, 6144, 6145, 8192, 16_384, 131_072] {
      let chunks = HiddenLogProbs.chunks(rows: rows, bytesPerRow: bytesPerRow)
      #expect(chunks.flatMap { Array($0) } == Array(0..<rows))
      #expect(chunks.dropFirst().allSatisfy { $0.count == 6144 } && chunks[0].count <= 6144)
    }
    #expect(HiddenLogProbs.chunks(rows: 0, bytesPerRow: bytesPerRow).isEmpty)
    #expect(HiddenLogProbs.chunks(rows: 3, bytesPerRow: 1 << 40) == [0..<1, 1..<2, 2..<3])
  }

  /// 128k tokens of a vocabulary of 151,936 take less than 2 GB in forward and backward pass, besides weights and gradients.
  @Test func manyTokensTakeLittleMemory() throws {
    let (tokens, vocabulary, width) = (131_072, 151_936, 64)
    let run = ImaginedRun(on: .cuda)
    let peak = try run {
      try catchingTorchErrors {
        func made(_ shape: [Int], _ dtype: DType) -> Tensor { .empty(shape, dtype: dtype, device: .meta) }
        let head = ParameterScope(ParameterTable(dtype: .bfloat16))("lm_head")
          .parameter("weight", shape: [vocabulary, width], initializer: .constant(0))
        head.tensor = made(head.shape, .bfloat16)
        head.tensor.requiresGrad = true
        head.gradientSum = GradientSum(made(head.shape, .bfloat16))
        let (hidden, targets) = (made([tokens, width], .bfloat16), made([tokens], .int64))
        hidden.requiresGrad = true
        let before = run.heldBytes
        run.forgetPeak()
        let found = HiddenLogProbs.statistics(hidden, head, from: 0, targets: targets, temperature: 0.7, group: .single("one"))
        (found.logProbs + found.entropy).sum().backward()
        return run.peakBytes - before
      }
    }
    #expect(peak > HiddenLogProbs.logitsBytes / 2 && peak < 1_950_000_000, "\(peak) bytes")
  }
}
