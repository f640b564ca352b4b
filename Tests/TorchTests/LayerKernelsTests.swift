import Testing
import Torch

/// Kernels of layers on a CPU, against operators on random numbers.
@Suite struct LayerKernelsTests {
  private func random(_ shape: [Int], scale: Double = 1) -> Tensor { Tensor.randn(shape) * scale }

  private func expectEqual(_ found: Tensor, _ wanted: Tensor, _ what: String) {
    #expect(found.shape == wanted.shape, "\(what)")
    let (difference, size) = ((found - wanted).abs().max().item(), wanted.abs().max().item())
    #expect(difference <= 3e-6 * max(1, size), "\(what): \(difference)")
  }

  @Test(arguments: [0, 1, 5, 333], [8, 72, 768, 2056]) func norms(rows: Int, width: Int) {
    withoutGradients {
      let (input, delta, weight) = (random([rows, width], scale: 3), random([rows, width]), random([width]))
      for delta in [nil, delta] {
        let found = Kernels.addNorm(input, delta, weight: weight, epsilon: 1e-5)
        let sum = delta.map { input + $0 } ?? input
        guard rows > 0 else {
          #expect(found.normed.shape == [0, width])
          continue
        }
        expectEqual(found.sum, sum, "sum")
        expectEqual(found.normed, sum.rmsNorm([width], weight: weight, eps: 1e-5), "norm")
      }
    }
  }

  @Test(arguments: [1, 7, 200], [8, 104, 2048]) func gates(rows: Int, width: Int) {
    withoutGradients {
      let both = random([rows, 2 * width], scale: 20)
      let parts = both.chunk(2, dim: 1)
      expectEqual(Kernels.siluMultiply(both), parts[0].silu() * parts[1], "silu(gate) · up")
    }
  }

  @Test(arguments: [1, 9, 130], [(4, 2, 64, 64), (3, 1, 32, 8), (2, 2, 128, 32)])
  func rotations(tokens: Int, sizes: (heads: Int, keyHeads: Int, dimension: Int, rotated: Int)) {
    withoutGradients {
      let (heads, keyHeads, dimension, rotated) = sizes
      for (hasGates, hasNorms) in [(false, false), (false, true), (true, false), (true, true)] {
        let widths = [heads] + (hasGates ? [heads] : []) + [keyHeads, keyHeads]
        let projected = random([tokens, widths.reduce(0, +) * dimension])
        let angles = random([tokens, 1, rotated / 2], scale: 3)
        let both = Tensor.cat([angles, angles], dim: 2)
        let (cosine, sine) = (both.cos(), both.sin())
        let weights = hasNorms ? (random([dimension]), random([dimension])) : nil
        let found = Kernels.normRotate(
          projected, heads: heads, keyHeads: keyHeads, dimension: dimension, queryWeight: weights?.0, keyWeight: weights?.1,
          epsilon: 1e-6, cosine: cosine, sine: sine)
        let parts = projected.splitWithSizes(widths.map { $0 * dimension }, dim: 1)
        func turned(_ part: Tensor, _ count: Int, _ weight: Tensor?) -> Tensor {
          let plain = part.reshape([tokens, count, dimension])
          let normed = weight.map { plain.rmsNorm([dimension], weight: $0, eps: 1e-6) } ?? plain
          let parts = normed.splitWithSizes([rotated, dimension - rotated], dim: 2)
          let halves = parts[0].chunk(2, dim: 2)
          return Tensor.cat([parts[0] * cosine + Tensor.cat([-halves[1], halves[0]], dim: 2) * sine, parts[1]], dim: 2)
        }
        expectEqual(found.query, turned(parts[0], heads, weights?.0), "queries")
        expectEqual(found.key, turned(parts[widths.count - 2], keyHeads, weights?.1), "keys")
        expectEqual(found.value, parts[widths.count - 1].reshape([tokens, keyHeads, dimension]), "values")
        #expect((found.gates != nil) == hasGates)
        if let gates = found.gates { expectEqual(gates, parts[1], "gates") }
      }
    }
  }
}
