import Parallelism
import TestSupport
import Testing
import Torch

@Suite struct OptimizerPrecisionTests {
  /// bf16 weights with gradients given from outside, which differ by rank.
  private static func train(
    _ precision: OptimizerPrecision, steps: Int, rank: Int, _ parallel: ParallelContext
  ) -> (masters: [[Float]], weights: [[Float]], norms: [Double]) {
    let table = ParameterTable(dtype: .bfloat16)
    let scope = ParameterScope(table)
    let parameters = [("matrix", [5, 7]), ("other", [3, 3]), ("scale", [11])].map { name, shape in
      scope(name).parameter("weight", shape: shape, initializer: .constant(0))
    }
    var options = DistributedOptimizer.Options()
    (options.computeType, options.precision) = (.bfloat16, precision)
    options.adam = AdamW.Options(weightDecay: 0.1)
    let optimizer = DistributedOptimizer(parameters, tied: nil, options: options, parallel: parallel)
    let start = Generator(seed: 1)
    optimizer.fill { Tensor.randn($0.shape, generator: start) }
    let generator = Generator(seed: UInt64(rank + 2))
    var norms: [Double] = []
    for _ in 0..<steps {
      // The last takes no part.
      for parameter in parameters.dropLast() {
        for _ in 0..<2 { parameter.gradientSum!.add(Tensor.randn(parameter.shape, generator: generator).to(dtype: .bfloat16)) }
      }
      norms.append(optimizer.step(learningRate: 0.05))
    }
    return (
      optimizer.buffers.map { $0.wholeMaster().whole.array() }, optimizer.buffers.map { $0.weights.array() }, norms
    )
  }

  /// With fp32 gradients and moments, what is kept in two parts is trained exactly as an fp32 copy is.
  @Test(arguments: [1, 2, 3]) func remaindersChangeNothing(ranks: Int) async throws {
    var exact = OptimizerPrecision()
    exact.keepsRemainders = true
    let precisions = [OptimizerPrecision(), exact]
    let outcomes = try await runGroup(ranks) { group in
      let parallel = try ParallelContext(ParallelLayout(worldSize: ranks), rank: group.rank, device: .cpu) { _, _, _ in group }
      return precisions.map { Self.train($0, steps: 4, rank: group.rank, parallel) }
    }
    for found in outcomes {
      #expect(found[1].masters == found[0].masters && found[1].norms == found[0].norms)
      for (master, weights) in zip(found[1].masters, found[1].weights) {
        #expect(weights.map(\.bitPattern) == master.map { ($0.bitPattern + 0x8000) & 0xFFFF_0000 })
      }
    }
  }

  /// In bf16 gradients are summed with eight bits; every rank has the same weights all the same.
  @Test func gradientsAreSummedInBFloat16() async throws {
    var low = OptimizerPrecision()
    (low.keepsRemainders, low.gradients, low.firstMoments, low.secondMoments) = (true, .bfloat16, .bfloat16, .bfloat16)
    let precisions = [OptimizerPrecision(), low]
    let outcomes = try await runGroup(2) { group in
      let parallel = try ParallelContext(ParallelLayout(worldSize: 2), rank: group.rank, device: .cpu) { _, _, _ in group }
      return precisions.map { Self.train($0, steps: 1, rank: group.rank, parallel) }
    }
    for found in outcomes {
      #expect(found[1].masters == outcomes[0][1].masters && found[1].weights == outcomes[0][1].weights)
      #expect(abs(found[1].norms[0] / found[0].norms[0] - 1) < 4e-3 && found[1].norms != found[0].norms)
      for (low, plain) in zip(found[1].masters.joined(), found[0].masters.joined()) { #expect(abs(low - plain) < 2e-3) }
    }
  }
}
