import Testing
import Torch

@Suite struct GeneratorTests {
  private struct Numbers: Decodable {
    let rand, randAfterwards, randn, uniform: [Int32]
    let randint, randperm, multinomial: [Int]
  }

  private func floats(_ bits: [Int32]) -> [Float] { bits.map { Float(bitPattern: UInt32(bitPattern: $0)) } }

  @Test func drawsWhatPyTorchDraws() throws {
    let expected: Numbers = try torchFixture("random")
    func fresh() -> Generator { Generator(seed: 1234) }
    let generator = fresh()
    #expect(Tensor.rand([3], generator: generator).array(Float.self) == floats(expected.rand))
    #expect(Tensor.rand([3], generator: generator).array(Float.self) == floats(expected.randAfterwards))
    // Normal numbers go through the logarithm of the processor at hand.
    #expect(isClose(Tensor.randn([20], generator: fresh()), Tensor(floats(expected.randn)), 1e-5))
    #expect(Tensor.randint(-5..<100, [10], generator: fresh()).array(Int.self) == expected.randint)
    #expect(Tensor.randperm(10, generator: fresh()).array(Int.self) == expected.randperm)
    #expect(Tensor.zeros([4]).uniform_(-2, to: 3, generator: fresh()).array(Float.self) == floats(expected.uniform))
    let weights = Tensor([0.1, 0.2, 0.3, 0.4] as [Float])
    #expect(weights.multinomial(6, replacement: true, generator: fresh()).array(Int.self) == expected.multinomial)
  }

  @Test func aSavedStateReproduces() {
    let generator = Generator(seed: 7)
    _ = Tensor.randn([5], generator: generator)
    let state = generator.state
    let first = Tensor.randn([33], generator: generator)
    let restored = Generator(seed: 0)
    restored.state = state
    #expect(Tensor.randn([33], generator: restored).equal(first))
    generator.state = state
    #expect(Tensor.randn([33], generator: generator).equal(first))
    #expect(!Tensor.randn([33], generator: generator).equal(first))
    // The state survives as bytes, as in a checkpoint.
    generator.state = Tensor(state.array(UInt8.self))
    #expect(Tensor.randn([33], generator: generator).equal(first))
  }

  @Test func generatorsAreIndependent() {
    let (a, b, alone) = (Generator(seed: 1), Generator(seed: 2), Generator(seed: 1))
    var interleaved: [Float] = []
    for _ in 0..<4 {
      interleaved += Tensor.rand([2], generator: a).array()
      _ = Tensor.rand([3], generator: b)
      _ = Tensor.rand([3])
    }
    let expected = (0..<4).flatMap { _ in Tensor.rand([2], generator: alone).array(Float.self) }
    #expect(interleaved == expected)
    #expect(!Tensor.rand([8], generator: a).equal(Tensor.rand([8], generator: b)))
  }

  @Test func aWrongStateIsAnError() {
    let generator = Generator(seed: 1)
    #expect(message { try catchingTorchErrors { generator.state = Tensor([1, 2, 3]) } } != nil)
    #expect(message { try catchingTorchErrors { _ = Generator(seed: 1, device: .cuda(0)) } } != nil)
  }
}
