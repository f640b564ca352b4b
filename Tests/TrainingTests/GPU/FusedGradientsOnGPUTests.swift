import Models
import Parallelism
import TestSupport
import Testing
import Torch
import Training

/// Gradients of models in bf16 on a GPU, with kernels for several operators at once and weights' gradients that are added up as
/// they are found, are those of plain operators in fp32.
@Suite(.serialized, .onGPU) struct FusedGradientsOnGPUTests: PlanTesting {
  struct Gradient {
    let name: String
    let values: Tensor
  }

  /// Two micro-batches' of all weights, on the CPU.
  private func gradients(
    _ model: ModelConfiguration, on device: Device, _ dtype: DType, _ runner: any BlockRunner
  ) throws -> [Gradient] {
    try catchingTorchErrors {
      let parallel = ParallelContext.single(device)
      let real = try CausalLM(model, parallel: parallel, dtype: dtype)
      var options = DistributedOptimizer.Options()
      options.computeType = dtype
      let optimizer = DistributedOptimizer(real.table.parameters, tied: nil, options: options, parallel: parallel)
      var seed: UInt64 = 0
      optimizer.fill { parameter in
        seed += 1
        let noise = Tensor.randn(parameter.shape, generator: Generator(seed: seed))
        let values = parameter.shape.count == 1 ? noise * 0.1 + 1 : noise * 0.2
        // Numbers that both types have.
        return values.to(dtype: .bfloat16).to(dtype: .float32)
      }
      for lengths in [[200, 56], [31, 130, 64]] {
        let tokenCount = lengths.reduce(0, +)
        let context = ForwardContext(
          positions: Tensor(lengths.flatMap { Array(0..<$0) }).to(device: device),
          attention: trainingAttention(
            lengths: lengths, parallel: parallel, implementation: device.kind == .cuda ? .cudnn : .sdpa),
          runner: runner, fusesOperators: real.fusesOperators(in: dtype))
        #expect(context.fusesOperators == (device.kind == .cuda))
        let tokens = Tensor((0..<tokenCount).map { $0 * 31 % 67 }).to(device: device)
        let rows = Tensor(Array(0..<tokenCount - 1)).to(device: device)
        let found = real.statistics(
          real.hidden(tokens, context), at: rows, targets: tokens[1..<tokenCount], temperature: 0.9)
        (found.logProbs.sum() + found.entropy.sum() * 0.1).backward()
      }
      return optimizer.buffers.flatMap { buffer in
        buffer.settleGradients()
        return zip(buffer.parameters, buffer.ranges).map { parameter, range in
          Gradient(name: parameter.name, values: buffer.gradients[range].to(dtype: .float32, device: .cpu))
        }
      }
    }
  }

  @Test(arguments: [false, true]) func gradientsAreThoseOfPlainOperators(runsAgain: Bool) throws {
    let device = try GPU.open()
    var json = PlannedModels.dense.object!
    (json["hidden_size"], json["intermediate_size"], json["head_dim"], json["vocab_size"]) = (128, 192, 64, 96)
    let model = try model(.object(json))
    let runner: any BlockRunner = runsAgain ? RecomputingRunner(.uniform(layers: 1)) : PlainRunner()
    let wanted = try gradients(model, on: .cpu, .float32, PlainRunner())
    let found = try gradients(model, on: device, .bfloat16, runner)
    #expect(found.map(\.name) == wanted.map(\.name))
    for (found, wanted) in zip(found, wanted) {
      let error = (found.values - wanted.values).vectorNorm().item() / wanted.values.vectorNorm().item()
      #expect(error < 0.15, "\(found.name): \(error)")
    }
  }
}
