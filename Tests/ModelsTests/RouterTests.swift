import Checkpoints
import Models
import Parallelism
import TestSupport
import Testing
import Torch

@Suite struct RouterTests {
  static func router(_ mixture: MixtureConfiguration, seed: UInt64 = 3, parallel: ParallelContext = .single()) -> Router {
    let router = Router(
      ParameterScope(ParameterTable(), path: "gate"), mixture, hiddenSize: 6, layer: 0,
      initializer: .normal(standardDeviation: 1), parallel: parallel)
    router.weight.tensor = Tensor.randn(router.weight.shape, generator: Generator(seed: seed))
    return router
  }

  static func context(_ record: RoutingRecord? = nil, _ losses: RouterLosses? = nil) -> ForwardContext {
    ForwardContext(
      positions: .arange(9), attention: PackedAttention(lengths: [9], device: .cpu), routing: record, routerLosses: losses)
  }

  static var input: Tensor { Tensor.randn([9, 6], generator: Generator(seed: 4)) }

  /// A softmax over the chosen experts is the softmax over all of them, divided by the sum of the chosen.
  @Test func softmaxOfTheChosen() {
    var mixture = MixtureConfiguration(expertCount: 7, expertsPerToken: 3, intermediateSize: 4, layers: [0])
    mixture.normalizesWeights = true
    let before = Self.router(mixture)(Self.input, context: Self.context())
    (mixture.score, mixture.normalizesWeights) = (.softmaxOfChosen, false)
    let after = Self.router(mixture)(Self.input, context: Self.context())
    #expect(before.experts.array(Int.self) == after.experts.array(Int.self))
    #expect((before.weights - after.weights).abs().max().item() < 1e-6)
    #expect((after.weights.sum([1]) - 1).abs().max().item() < 1e-6)
  }

  @Test func weightsOfReplayedExpertsAreComputedAnew() {
    let mixture = MixtureConfiguration(expertCount: 5, expertsPerToken: 2, intermediateSize: 4, layers: [0])
    let router = Self.router(mixture)
    router.weight.tensor.requiresGrad = true
    // Not what the router would choose.
    let given = Tensor((0..<9).flatMap { [Int32($0 % 5), Int32(($0 + 2) % 5)] }, shape: [9, 1, 2])
    let (experts, weights) = router(Self.input, context: Self.context(RoutingRecord(given, parallel: .single())))
    #expect(experts.array(Int32.self) == given.array(Int32.self))
    let wanted = Self.input.linear(router.weight.tensor).softmax(1).gather(1, index: experts)
    #expect((weights - wanted).abs().max().item() < 1e-6)
    weights.sum().backward()
    #expect(router.weight.tensor.grad!.abs().max().item() > 0)
  }

  @Test func aRecordIsWrittenOnceAndObeyed() throws {
    let mixture = MixtureConfiguration(expertCount: 5, expertsPerToken: 2, intermediateSize: 4, layers: [0])
    let record = RoutingRecord()
    #expect(record.stacked(layerCount: 1) == nil)
    let chosen = Self.router(mixture)(Self.input, context: Self.context(record)).experts
    let other = Self.router(mixture, seed: 5)
    #expect(other(Self.input, context: Self.context()).experts.array(Int.self) != chosen.array(Int.self))
    #expect(other(Self.input, context: Self.context(record)).experts.array(Int.self) == chosen.array(Int.self))
    let stacked = try #require(record.stacked(layerCount: 2))
    #expect(stacked.shape == [9, 2, 2] && stacked.dtype == .int32)
    #expect(stacked.select(1, index: 0).array(Int.self) == chosen.array(Int.self))
  }

  /// A whole model, with layers that run again: they do what was given, so gradients are the same to the bit.
  @Test(arguments: [Recomputation.uniform(layers: 2), .block(layers: 2)])
  func recomputedLayersObeyToo(_ recomputation: Recomputation) throws {
    let folder = try HuggingFaceFolder(fixture("models/qwen3-moe"))
    let model = try CausalLM(ModelRegistry.configuration(of: folder), parallel: .single(), dtype: .float32)
    try model.load(folder, dtype: .float32, device: .cpu)
    let generator = Generator(seed: 1)
    let tokens = Tensor.randint(0..<61, [12], generator: generator)
    let weights = Tensor.randn([12, model.configuration.hiddenSize], generator: generator)
    let given = Tensor.randint(0..<4, [12, 3, 1], generator: generator)
    let experts = Tensor.cat([given, given + 1], dim: 2)
    func gradients(_ runner: any BlockRunner, _ record: RoutingRecord?) -> [[Float]] {
      for parameter in model.table.parameters {
        parameter.tensor = parameter.tensor.detached()
        parameter.tensor.requiresGrad = true
      }
      let context = ForwardContext(
        positions: .arange(12), attention: PackedAttention(lengths: [12], device: .cpu), runner: runner, routing: record)
      (model.hidden(tokens, context) * weights).sum().backward()
      return model.table.parameters.map { $0.tensor.grad?.array() ?? [] }
    }
    func record() -> RoutingRecord { RoutingRecord(experts, parallel: .single()) }
    let wanted = gradients(PlainRunner(), record())
    #expect(gradients(RecomputingRunner(recomputation), record()) == wanted)
    let free = gradients(PlainRunner(), nil)
    #expect(free != wanted)
    #expect(gradients(RecomputingRunner(recomputation), nil) == free)
    #expect(gradients(RecomputingRunner(recomputation), RoutingRecord()) == free)
  }
}
