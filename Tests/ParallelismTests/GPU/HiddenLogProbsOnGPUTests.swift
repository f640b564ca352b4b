import Parallelism
import TestSupport
import Testing
import Torch

/// Log-probabilities from hidden states do not tell whether their logits waited for the backward pass.
@Suite(.serialized, .onGPU) struct HiddenLogProbsOnGPUTests {
  @Test(arguments: [false, true]) func logitsThatAreComputedAgainAreTheSame(isDeterministic: Bool) throws {
    let device = try GPU.open()
    let (rows, vocabulary, width) = (8192, 151_936, 64)
    // Of them, these do not wait.
    let first = 0..<2048
    func noise(_ shape: [Int], _ seed: UInt64) -> Tensor {
      Tensor.randn(shape, generator: Generator(seed: seed)).to(dtype: .bfloat16, device: device)
    }
    let head = ParameterScope(ParameterTable(dtype: .bfloat16))("lm_head")
      .parameter("weight", shape: [vocabulary, width], initializer: .constant(0))
    head.tensor = noise(head.shape, 1) * 0.1
    head.tensor.requiresGrad = true
    let (states, targets) = (noise([rows, width], 2), Tensor((0..<rows).map { $0 * 7919 % vocabulary }).to(device: device))
    func found(_ part: Range<Int>) -> [Tensor] {
      let hidden = states[part].clone()
      hidden.requiresGrad = true
      let found = HiddenLogProbs.statistics(
        hidden, head, from: 0, targets: targets[part], temperature: 0.7, group: .single("one"), isDeterministic: isDeterministic)
      (found.logProbs + found.entropy * 0.1).sum().backward()
      return [found.logProbs.detached(), found.entropy.detached(), hidden.grad!]
    }
    for (all, alone) in zip(found(0..<rows), found(first)) { #expect(all[first].equal(alone)) }
  }
}
