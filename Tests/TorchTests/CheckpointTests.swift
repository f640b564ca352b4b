import Testing
import Torch

@Suite struct CheckpointTests {
  /// A small network: its weights, and how often each of its layers has run.
  private final class Network {
    let weights: [Tensor]
    var runs = [0, 0, 0]

    init() {
      let generator = Generator(seed: 5)
      weights = (0..<3).map { _ in Tensor.randn([4, 4], generator: generator) }
      for weight in weights { weight.requiresGrad = true }
    }

    func layer(_ i: Int, _ x: Tensor) -> Tensor {
      runs[i] += 1
      return x + x.linear(weights[i]).silu()
    }

    var gradients: [Tensor] { weights.map { $0.grad! } }
  }

  private func input() -> Tensor {
    let x = Tensor.randn([2, 4], generator: Generator(seed: 6))
    x.requiresGrad = true
    return x
  }

  private func plain() -> (Network, Tensor) {
    let (network, x) = (Network(), input())
    (0..<3).reduce(x) { network.layer($1, $0) }.square().sum().backward()
    return (network, x)
  }

  private func expectEqual(_ a: (Network, Tensor), _ b: (Network, Tensor)) {
    for (one, other) in zip(a.0.gradients + [a.1.grad!], b.0.gradients + [b.1.grad!]) {
      #expect(one.equal(other))
    }
  }

  @Test func equalsPlain() {
    let (network, x) = (Network(), input())
    let output = (0..<3).reduce(x) { x, i in
      Tensor.checkpoint("Layer", input: x, parameters: [network.weights[i]]) { network.layer(i, $0) }
    }
    #expect(network.runs == [1, 1, 1])
    output.square().sum().backward()
    #expect(network.runs == [2, 2, 2])
    expectEqual((network, x), plain())
  }

  @Test func nested() {
    let (network, x) = (Network(), input())
    let output = Tensor.checkpoint("Outer", input: x, parameters: network.weights) { x in
      let middle = Tensor.checkpoint("Inner", input: x, parameters: Array(network.weights[0..<2])) { x in
        network.layer(1, Tensor.checkpoint("Innermost", input: x, parameters: [network.weights[0]]) { network.layer(0, $0) })
      }
      return network.layer(2, middle)
    }
    output.square().sum().backward()
    #expect(network.runs == [4, 3, 2])
    expectEqual((network, x), plain())
  }

  @Test func frozenParametersAndInputs() {
    let (network, x) = (Network(), input())
    network.weights[1].requiresGrad = false
    x.requiresGrad = false
    let output = Tensor.checkpoint("Layers", input: x, parameters: network.weights) { x in
      (0..<3).reduce(x) { network.layer($1, $0) }
    }
    output.square().sum().backward()
    let reference = plain().0
    #expect(network.weights[1].grad == nil && x.grad == nil)
    #expect(network.weights[0].grad!.equal(reference.gradients[0]) && network.weights[2].grad!.equal(reference.gradients[2]))
  }

  @Test func postAccumulateHooksRunOncePerParameter() {
    let (network, x) = (Network(), input())
    var calls = 0
    for weight in network.weights { weight.registerPostAccumulateHook { _ in calls += 1 } }
    let output = Tensor.checkpoint("Layers", input: x, parameters: network.weights) { x in
      (0..<3).reduce(x) { network.layer($1, $0) }
    }
    output.sum().backward()
    #expect(calls == 3)
  }

  @Test func withoutGradientsItIsACall() {
    let (network, x) = (Network(), input())
    let output = withoutGradients {
      Tensor.checkpoint("Layer", input: x, parameters: network.weights) { network.layer(0, $0) }
    }
    #expect(!output.requiresGrad && network.runs == [1, 0, 0])
  }

  @Test func whatItKeepsIsReleased() {
    let census = Census()
    do {
      let x = input()
      let bias = census.tensor([1, 2, 3, 4])
      let loss = Tensor.checkpoint("C", input: x, parameters: []) { $0.exp() + bias }.sum()
      loss.backward()
    }
    #expect(census.count == 0)
  }
}
