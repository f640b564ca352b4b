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
}
