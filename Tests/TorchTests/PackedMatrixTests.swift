#if arch(x86_64)
  import Foundation
  import TestSupport
  import Testing
  import Torch

  /// Weights in oneDNN's layout.
  @Suite struct PackedMatrixTests {
    private static func parameter(_ weight: Tensor) -> Parameter {
      let parameter = ParameterScope(ParameterTable(dtype: weight.dtype)).parameter(
        "weight", shape: weight.shape, initializer: .constant(0))
      parameter.tensor = weight
      return parameter
    }

    /// One packing multiplies any number of rows, with and without a bias, wherever the rows lie.
    @Test func productsAreThoseOfTheWeight() throws {
      var random = SeededGenerator(state: 1)
      let generator = Generator(seed: 1)
      for _ in 0..<30 {
        let (inputs, outputs) = (Int.random(in: 1...300, using: &random), Int.random(in: 1...300, using: &random))
        let parameter = Self.parameter(Tensor.randn([outputs, inputs], generator: generator))
        #expect(parameter.packed == nil)
        parameter.pack()
        let packed = try #require(parameter.packed)
        let bias = Bool.random(using: &random) ? Tensor.randn([outputs], generator: generator) : nil
        for rows in [0, 1, 2, 33, Int.random(in: 1...700, using: &random)] {
          let whole = Tensor.randn([rows, 2 * inputs], generator: generator)
          for input in [whole.narrow(1, start: 0, length: inputs), Tensor.randn([inputs, rows], generator: generator).t()] {
            let (found, wanted) = (input.linear(packed, bias: bias), input.linear(parameter.tensor, bias: bias))
            #expect(found.shape == wanted.shape && found.isContiguous)
            #expect(found.allclose(wanted, rtol: 1e-5, atol: 1e-4), "\(rows) × \(inputs) → \(outputs)")
          }
        }
      }
    }

    /// What a copy was made of is known: it is none of a weight that was written to since, in whatever way, or of another.
    @Test func copiesOfOtherNumbersAreLeftAside() throws {
      let generator = Generator(seed: 2)
      let writes: [(Parameter) -> Void] = [
        { _ = $0.tensor.copy_(.ones([8, 16])) }, { _ = $0.tensor[2..<3].fill_(1) }, { _ = $0.tensor.detached().mul_(2) },
        { _ = $0.tensor.t().narrow(0, start: 3, length: 1).copy_(.ones([1, 8]), nonBlocking: true) },
        { $0.tensor = $0.tensor.clone() }, { $0.unpack() },
      ]
      for (index, write) in writes.enumerated() {
        let parameter = Self.parameter(Tensor.randn([8, 16], generator: generator))
        parameter.pack()
        #expect(parameter.packed != nil)
        write(parameter)
        #expect(parameter.packed == nil, "write \(index)")
        parameter.pack()
        let input = Tensor.randn([3, 16], generator: generator)
        #expect(isClose(input.linear(try #require(parameter.packed)), input.linear(parameter.tensor), 1e-5), "write \(index)")
      }
    }

    /// Where there is no such layout, or the weight is trained, nothing is packed.
    @Test func othersArePlain() {
      let trained = Self.parameter(.ones([8, 16]))
      trained.tensor.requiresGrad = true
      for parameter in [
        Self.parameter(.ones([8])), Self.parameter(Tensor.ones([8, 16]).to(dtype: .float64)),
        Self.parameter(.empty([8, 16], device: .meta)), trained,
      ] {
        parameter.pack()
        #expect(parameter.packed == nil, "\(parameter.tensor.shape)")
      }
    }
  }
#endif
