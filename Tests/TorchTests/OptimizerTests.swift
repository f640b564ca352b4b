import Testing
import Torch

@Suite struct OptimizerTests {
  private struct Run: Decodable {
    struct Step: Decodable {
      let learningRate: Double
      let gradients: [[Float]?]
      let parameters: [[Float]]
    }
    let shapes: [[Int]]
    let options: AdamW.Options
    let start: [[Float]]
    let steps: [Step]
  }

  @Test func adamWStepsAsPyTorchDoes() throws {
    let run: Run = try torchFixture("adamw")
    let parameters = zip(run.start, run.shapes).map { Tensor($0, shape: $1) }
    for parameter in parameters { parameter.requiresGrad = true }
    let optimizer = AdamW(parameters.map { MasterWeights($0) }, options: run.options)
    for step in run.steps {
      let gradients = zip(parameters, step.gradients).map { parameter, gradient in
        gradient.map { Tensor($0, shape: parameter.shape) }
      }
      optimizer.step(gradients, learningRate: step.learningRate)
      for (parameter, expected) in zip(parameters, step.parameters) {
        #expect(isClose(parameter.detached(), Tensor(expected, shape: parameter.shape), 1e-6))
      }
    }
    #expect(optimizer.steps.map { $0.item() } == [6, 5, 6])
    #expect(parameters.allSatisfy { $0.requiresGrad && $0.isLeaf })
  }

  @Test func gradientsAreScaledAndCopiesWritten() {
    let gradient = Tensor.randn([9], generator: Generator(seed: 4))
    func stepped(_ gradient: Tensor, scale: Double, _ copy: Tensor? = nil) -> Tensor {
      let parameter = Tensor.ones([9])
      AdamW([MasterWeights(parameter)], options: .init(weightDecay: 0.1))
        .step([gradient.clone()], learningRate: 0.1, gradientScale: scale, writing: copy.map { [$0] })
      return parameter
    }
    let copy = Tensor.zeros([9], dtype: .bfloat16)
    let found = stepped(gradient, scale: 1e-8, copy)
    #expect(isClose(found, stepped(gradient * 1e-8, scale: 1)) && !isClose(found, stepped(gradient, scale: 1)))
    #expect(copy.equal(found.to(dtype: .bfloat16)))
  }

  @Test func gradientsAddUpFromTheFirst() {
    let (place, generator) = (Tensor.full([2, 3], 7), Generator(seed: 5))
    let sum = GradientSum(place)
    let (left, right) = (Tensor.randn([2, 4], generator: generator), Tensor.randn([4, 3], generator: generator))
    for _ in 0..<2 {
      sum.add(left, times: right)
      #expect(isClose(place, left.mm(right)))
      sum.add(Tensor.ones([2, 3], dtype: .bfloat16))
      sum.settle()
      #expect(isClose(place, left.mm(right) + 1))
      sum.forget()
    }
    sum.settle()
    #expect(place.array(Float.self) == Array(repeating: 0, count: 6))
    let (low, other) = (Tensor.full([2, 3], 7, dtype: .bfloat16), Tensor.ones([2, 3], dtype: .bfloat16))
    let narrow = GradientSum(low)
    narrow.add(other)
    narrow.add(left, times: right)
    #expect(low.equal((left.mm(right) + 1).to(dtype: .bfloat16)))
  }

  @Test func aStepWithoutGradientsChangesNothing() {
    let parameter = Tensor.ones([2])
    parameter.requiresGrad = true
    AdamW([MasterWeights(parameter)], options: .init(weightDecay: 0.1)).step([nil], learningRate: 1)
    #expect(parameter.array(Float.self) == [1, 1])
  }

  /// Any bits of fp32, of which bf16 has the nearest numbers: at the middle the one further from zero.
  @Test func numbersInTwoPartsAreWhole() {
    let random = Tensor.randint(-1 << 31..<1 << 31, [100_000], generator: Generator(seed: 6)).to(dtype: .int32)
    let edges = Tensor([
      0, 1, -1, 0x7FFF, 0x8000, 0x1_8000, 0x3F80_8000, 0x3F81_8000, 0x7F7F_8000, 0x7F7F_FFFF, 0x7F80_0000, Int32.min,
      Int32.min + 0x8000,
    ] as [Int32])
    let bits = Tensor.cat([random, edges], dim: 0)
    let parts = MasterWeights.split(bits.viewing(.float32))
    let weights = MasterWeights(parts.values, remainders: parts.remainders)
    #expect(weights.whole.viewing(.int32).equal(bits))
    let numbers: [Float] = bits.viewing(.float32).array()
    for (number, value) in zip(numbers, parts.values.array(Float.self)) where number.isFinite {
      let nearest = Float(bitPattern: (number.bitPattern &+ 0x8000) & 0xFFFF_0000)
      #expect(value.bitPattern == nearest.bitPattern, "\(number) became \(value)")
    }
    weights[2..<5].take(Tensor([1.001, -2.003, 1e-30] as [Float]))
    #expect(weights[1..<6].whole.array(Float.self)[1..<4] == [1.001, -2.003, 1e-30])
    #expect(weights[5..<7].whole.viewing(.int32).equal(bits[5..<7]))
  }

  /// bf16 numbers and what they lack are stepped as fp32 numbers are, bit for bit; more of them than are copied at a time.
  @Test func stepsInTwoPartsAreThoseInFP32() {
    let generator = Generator(seed: 7)
    let (start, count) = (Tensor.randn([1_100_003], generator: generator), 1_100_003)
    let parts = MasterWeights.split(start)
    let options = AdamW.Options(weightDecay: 0.1)
    let plain = AdamW([MasterWeights(start)], options: options)
    let split = AdamW([MasterWeights(parts.values, remainders: parts.remainders)], options: options)
    for step in 1...3 {
      let gradient = Tensor.randn([count], generator: generator)
      for optimizer in [plain, split] {
        optimizer.step([gradient.clone()], learningRate: 0.1 / Double(step), gradientScale: 0.7)
      }
      #expect(split.weights[0].whole.equal(start))
    }
    #expect(split.firstMoments[0].equal(plain.firstMoments[0]) && split.secondMoments[0].equal(plain.secondMoments[0]))
  }

  /// Moments and gradients in bf16 are those in fp32, rounded after each step; a copy is written all the same.
  @Test(arguments: [(DType.bfloat16, DType.float32), (.float32, .bfloat16), (.bfloat16, .bfloat16)])
  func momentsAreRoundedAfterEachStep(first: DType, second: DType) {
    let generator = Generator(seed: 8)
    var precision = OptimizerPrecision()
    (precision.firstMoments, precision.secondMoments) = (first, second)
    let weights = (0..<2).map { _ in Tensor.ones([7, 9]) }
    let (low, rounded) = (
      AdamW([MasterWeights(weights[0])], options: .init(), precision: precision), AdamW([MasterWeights(weights[1])], options: .init()))
    let copy = Tensor.zeros([7, 9], dtype: .bfloat16)
    for _ in 0..<4 {
      let gradient = Tensor.randn([7, 9], generator: generator).to(dtype: .bfloat16)
      low.step([gradient], learningRate: 0.1, gradientScale: 0.3, writing: [copy])
      rounded.step([gradient.to(dtype: .float32)], learningRate: 0.1, gradientScale: 0.3)
      for (moment, type) in [(rounded.firstMoments[0], first), (rounded.secondMoments[0], second)] {
        moment.copy_(moment.to(dtype: type))
      }
      #expect(weights[0].equal(weights[1]) && copy.equal(weights[0].to(dtype: .bfloat16)))
      #expect(low.firstMoments[0].to(dtype: .float32).equal(rounded.firstMoments[0]))
    }
  }

  /// The same as one tensor at a time.
  @Test func foreachOperators() {
    let generator = Generator(seed: 3)
    func lists() -> [Tensor] { [[3], [2, 2], [1, 4]].map { Tensor.rand($0, generator: generator) + 0.1 } }
    func expectEqual(_ a: [Tensor], _ b: [Tensor]) {
      #expect(a.count == b.count && zip(a, b).allSatisfy { isClose($0, $1) })
    }
    let (a, b, c) = (lists(), lists(), lists())
    func changed(_ change: ([Tensor]) -> Void) -> [Tensor] {
      let copy = a.map { $0.clone() }
      change(copy)
      return copy
    }
    let pairs = zip(a, b)
    expectEqual(changed { Tensor.foreachAdd_($0, scalar: 2) }, a.map { $0 + 2 })
    expectEqual(changed { Tensor.foreachAdd_($0, other: b, alpha: 0.5) }, pairs.map { $0 + $1 * 0.5 })
    expectEqual(changed { Tensor.foreachAdd_($0, other: Tensor(3)) }, a.map { $0 + 3 })
    expectEqual(changed { Tensor.foreachSub_($0, other: b) }, pairs.map { $0 - $1 })
    expectEqual(changed { Tensor.foreachMul_($0, scalar: 0.25) }, a.map { $0 * 0.25 })
    expectEqual(changed { Tensor.foreachMul_($0, other: b) }, pairs.map { $0 * $1 })
    expectEqual(changed { Tensor.foreachMul_($0, other: Tensor(3)) }, a.map { $0 * 3 })
    expectEqual(changed { Tensor.foreachDiv_($0, scalar: 3) }, a.map { $0 / 3 })
    expectEqual(changed { Tensor.foreachDiv_($0, other: b) }, pairs.map { $0 / $1 })
    expectEqual(changed { Tensor.foreachLerp_($0, tensors1: b, weight: 0.25) }, pairs.map { $0 + ($1 - $0) * 0.25 })
    expectEqual(
      changed { Tensor.foreachAddcmul_($0, tensor1: b, tensor2: c, value: 2) },
      zip(pairs, c).map { $0.0 + $0.1 * $1 * 2 })
    expectEqual(
      changed { Tensor.foreachAddcdiv_($0, tensor1: b, tensor2: c, value: 2) },
      zip(pairs, c).map { $0.0 + $0.1 / $1 * 2 })
    expectEqual(changed { Tensor.foreachSqrt_($0) }, a.map { $0.sqrt() })
    expectEqual(changed { Tensor.foreachNeg_($0) }, a.map { -$0 })
    expectEqual(changed { Tensor.foreachMaximum_($0, other: b) }, pairs.map { $0.maximum($1) })
    expectEqual(changed { Tensor.foreachClampMin_($0, scalar: 0.5) }, a.map { $0.clampMin(0.5) })
    expectEqual(changed { Tensor.foreachZero_($0) }, a.map { $0.zerosLike() })
    expectEqual(changed { Tensor.foreachCopy_($0, src: b) }, b)
    expectEqual(Tensor.foreachAdd(a, other: b), pairs.map { $0 + $1 })
    expectEqual(Tensor.foreachMul(a, scalar: 2), a.map { $0 * 2 })
    expectEqual(Tensor.foreachSqrt(a), a.map { $0.sqrt() })
    expectEqual(Tensor.foreachAbs(a.map { -$0 }), a)
    expectEqual(Tensor.foreachNorm(a), a.map { $0.square().sum().sqrt() })
  }

  @Test func unscalingFindsWhatIsNotFinite() {
    let found = Tensor(0)
    let gradients = [Tensor([2, 4] as [Float]), Tensor([6] as [Float])]
    Tensor.ampForeachNonFiniteCheckAndUnscale_(gradients, foundInf: found, invScale: Tensor(0.5))
    #expect(gradients.map { $0.array(Float.self) } == [[1, 2], [3]] && found.item() == 0)
    gradients[1].fill_(Double.infinity)
    Tensor.ampForeachNonFiniteCheckAndUnscale_(gradients, foundInf: found, invScale: Tensor(0.5))
    #expect(found.item() == 1)
  }
}

@Test func squaresOfLongVectorsAddUp() {
  let count = 1 << 24
  let long = Tensor.ones([count]) * 1e-3
  let sum: Double = Tensor.sumOfSquares([long, Tensor([Float(3), 4])], device: .cpu).item()
  #expect(abs(sum / (Double(count) * 1e-6 + 25) - 1) < 1e-5)
  let halves = (long * 3).to(dtype: .bfloat16)
  let whole: Double = halves.to(dtype: .float64).square().sum().item()
  let found: Double = Tensor.sumOfSquares([halves], device: .cpu).item()
  #expect(abs(found / whole - 1) < 1e-5)
}
