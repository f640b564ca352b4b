import TestSupport
import Testing
import Torch

/// Products with e4m3 on a GPU, by our kernel for few rows and by libtorch's, against the same numbers multiplied in fp32.
@Suite(.serialized, .onGPU) struct Float8LinearOnGPUTests {
  private static func noise(_ shape: [Int], _ device: Device, seed: Int) -> Tensor {
    Tensor.randn(shape, generator: Generator(seed: UInt64(seed)), device: .cpu).to(dtype: .bfloat16, device: device)
  }

  private static func weight(
    _ outputs: Int, _ inputs: Int, _ scaling: Float8Scaling, _ device: Device, seed: Int
  ) -> Float8Matrix {
    Float8Matrix(quantizing: noise([outputs, inputs], device, seed: seed), scaling).copied(to: device)
  }

  /// Of any numbers of outputs and rows, those that libtorch wants by fours too.
  @Test(arguments: [Float8Scaling.row, .tensor, .publishedBlock], [false, true])
  func productsAreThoseOfFloat32(scaling: Float8Scaling, hasBias: Bool) throws {
    let device = try GPU.open()
    try withoutGradients {
      try catchingTorchErrors {
        for (index, inputs) in [16, 48, 128, 144, 1024, 2560, 9728].enumerated() {
          for outputs in [1, 7, 77, 128, 1000, 2560] {
            let weight = Self.weight(outputs, inputs, scaling, device, seed: index + outputs)
            let bias = hasBias ? Self.noise([outputs], device, seed: 7) : nil
            for rows in [1, 2, 3, 4, 5, 8, 9, 130] {
              let input = Self.noise([rows, inputs], device, seed: rows) * 3
              let wanted = input.to(dtype: .float32).float8Linear(weight, bias: bias?.to(dtype: .float32))
              for found in [input.float8Linear(weight, bias: bias), input.float8LinearByOperators(weight, bias: bias)] {
                let error = (found.to(dtype: .float32) - wanted).abs().amax([1]) / wanted.abs().amax([1]).clampMin(1e-2)
                // Half a unit in the last place, and another where a bias is added to what was rounded.
                #expect(found.shape == [rows, outputs] && found.dtype == .bfloat16)
                #expect(error.max().item() < 8e-3, "\(rows) x \(outputs) x \(inputs): \(error.max().item())")
              }
            }
          }
        }
      }
    }
  }

  /// A row's product does not depend on the rows beside it; nothing times a weight is the bias, and what is no number stays
  /// in its row.
  @Test(arguments: [Float8Scaling.row, .publishedBlock]) func rowsAreAlone(scaling: Float8Scaling) throws {
    let device = try GPU.open()
    try withoutGradients {
      try catchingTorchErrors {
        let (weight, bias) = (Self.weight(1000, 2048, scaling, device, seed: 1), Self.noise([1000], device, seed: 2))
        let input = Self.noise([8, 2048], device, seed: 3)
        input[2..<3].zero_()
        input[5..<6].fill_(Double.nan)
        let all = input.float8Linear(weight, bias: bias)
        for row in [0, 1, 3, 4, 6, 7] { #expect(all[row..<row + 1].equal(input[row..<row + 1].float8Linear(weight, bias: bias))) }
        #expect(all[2].equal(bias))
        #expect(all[5].isnan().all().item() == 1)
      }
    }
  }

  /// Nothing looks at the host: a product can be recorded, whoever multiplies, and the weight read again when it has changed.
  @Test(arguments: [Float8Scaling.row, .publishedBlock], [1, 4, 8, 12, 64])
  func productsAreRecorded(scaling: Float8Scaling, rows: Int) throws {
    let device = try GPU.open()
    try withoutGradients {
      try catchingTorchErrors {
        let weight = Self.weight(512, 1024, scaling, device, seed: 1)
        let input = Self.noise([rows, 1024], device, seed: 2)
        _ = input.float8Linear(weight)
        var output: Tensor?
        let graph = try CUDAGraph(on: device) { output = input.float8Linear(weight) }
        for seed in [3, 4] {
          let other = Self.weight(512, 1024, scaling, device, seed: seed)
          _ = weight.values.copy_(other.values)
          _ = weight.scales.copy_(other.scales)
          _ = input.copy_(Self.noise([rows, 1024], device, seed: seed + 10))
          try graph.replay()
          #expect(try #require(output).equal(input.float8Linear(weight)))
        }
      }
    }
  }
}
