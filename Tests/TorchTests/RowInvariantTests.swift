import TestSupport
import Testing
import Torch

/// Operators that give a row the same bits alone and among others, by one thread and by several.
@Suite(.serialized) struct RowInvariantTests {
  /// Whether some part of the rows becomes something else alone than among all.
  static func dependsOnOthers(_ rows: Tensor, _ operation: (Tensor) -> Tensor) -> Bool {
    let threads = Runtime.threadCount
    defer { Runtime.threadCount = threads }
    Runtime.threadCount = 1
    let whole = operation(rows)
    for threads in [1, 2, 3] {
      Runtime.threadCount = threads
      guard operation(rows).equal(whole) else { return true }
      for (start, count) in [(0, 1), (0, 2), (1, 3), (5, 17), (30, 40), (31, 64), (rows.size(0) - 1, 1)] {
        guard operation(rows[start..<start + count].clone()).equal(whole[start..<start + count]) else { return true }
      }
    }
    return false
  }

  struct Shape: CustomTestStringConvertible, Sendable {
    var inputs: Int
    var outputs: Int
    var testDescription: String { "\(inputs) × \(outputs)" }
  }

  static let shapes = [
    Shape(inputs: 32, outputs: 48), Shape(inputs: 33, outputs: 7), Shape(inputs: 64, outputs: 1),
    Shape(inputs: 896, outputs: 1152), Shape(inputs: 1000, outputs: 300), Shape(inputs: 3072, outputs: 513),
  ]

  @Test(arguments: shapes, [DType.float32, .bfloat16]) func linear(_ shape: Shape, dtype: DType) {
    let generator = Generator(seed: 3)
    let input = Tensor.randn([100, shape.inputs], generator: generator).to(dtype: dtype)
    let weight = (Tensor.randn([shape.outputs, shape.inputs], generator: generator) * 0.1).to(dtype: dtype)
    let bias = Tensor.randn([shape.outputs], generator: generator).to(dtype: dtype)
    #expect(!Self.dependsOnOthers(input) { $0.rowInvariantLinear(weight, bias: bias) })
    // A weight that lies elsewhere, as in a flat buffer.
    let buffer = Tensor.empty([weight.count + 3], dtype: dtype)
    let moved = buffer[3..<weight.count + 3].view(weight.shape)
    moved.copy_(weight)
    #expect(input.rowInvariantLinear(moved).equal(input.rowInvariantLinear(weight)))
    let (found, wanted) = (input.rowInvariantLinear(weight, bias: bias), input.linear(weight, bias: bias))
    let tolerance = dtype == .float32 ? 1e-5 : 2e-2
    #expect(found.allclose(wanted, rtol: tolerance, atol: tolerance * wanted.abs().max().item()))
  }

  /// Otherwise the tests above would show nothing.
  @Test func libtorchsProductsDependOnOthers() {
    let generator = Generator(seed: 3)
    let input = Tensor.randn([100, 896], generator: generator)
    let weight = Tensor.randn([1152, 896], generator: generator)
    #expect(Self.dependsOnOthers(input) { $0.linear(weight) })
  }

  @Test func gradientsAreThoseOfLibtorch() {
    let generator = Generator(seed: 4)
    func gradients(_ body: (Tensor, Tensor, Tensor) -> Tensor, _ leaves: [Tensor]) -> [Tensor] {
      let own = leaves.map { leaf in
        let copy = leaf.clone()
        copy.requiresGrad = true
        return copy
      }
      body(own[0], own[1], own[2]).square().sum().backward()
      return own.map { $0.grad! }
    }
    let leaves = [[50, 24], [10, 24], [10]].map { Tensor.randn($0, generator: generator) }
    func activated(_ x: Tensor) -> Tensor { x * x.sigmoid() + x.silu() }
    func rowInvariant(_ x: Tensor) -> Tensor { x * x.rowInvariantSigmoid() + x.rowInvariantSilu() }
    let wanted = gradients({ activated($0.linear($1, bias: $2)) }, leaves)
    let found = gradients({ rowInvariant($0.rowInvariantLinear($1, bias: $2)) }, leaves)
    for (found, wanted) in zip(found, wanted) { #expect(found.allclose(wanted, rtol: 1e-5, atol: 1e-4)) }
  }

  @Test(arguments: [DType.float32, .bfloat16]) func elements(_ dtype: DType) {
    // An odd width: rows begin anywhere in a vector.
    let rows = (Tensor.randn([200, 37], generator: Generator(seed: 5)) * 3).to(dtype: dtype)
    #expect(!Self.dependsOnOthers(rows) { $0.rowInvariantSilu() })
    #expect(!Self.dependsOnOthers(rows) { $0.rowInvariantSigmoid() })
    let tolerance = dtype == .float32 ? 1e-6 : 1e-2
    #expect(rows.rowInvariantSilu().allclose(rows.silu(), rtol: tolerance, atol: tolerance))
    #expect(rows.rowInvariantSigmoid().allclose(rows.sigmoid(), rtol: tolerance, atol: tolerance))
    if dtype == .float32 { #expect(Self.dependsOnOthers(rows) { $0.silu() }) }
  }

  @Test(arguments: [1, 2, 7, 64, 40_000]) func sums(_ width: Int) {
    let rows = Tensor.rand([100, width], generator: Generator(seed: 6))
    #expect(!Self.dependsOnOthers(rows) { $0.rowInvariantSum() })
    #expect(rows.rowInvariantSum().allclose(rows.sum([1]), rtol: 1e-5, atol: 1e-5))
    #expect(rows.t().sumInOrder().allclose(rows.sum([1]), rtol: 1e-4, atol: 1e-5))
  }

  /// What the mode takes from libtorch as it is must be so too.
  @Test func whatIsTakenFromLibtorch() {
    let generator = Generator(seed: 7)
    for width in [5, 16, 64, 896] {
      let rows = Tensor.randn([200, width], generator: generator)
      let weight = Tensor.rand([width], generator: generator)
      #expect(!Self.dependsOnOthers(rows) { $0.rmsNorm([width], weight: weight, eps: 1e-6) }, "\(width)")
      let half = rows.to(dtype: .bfloat16)
      #expect(!Self.dependsOnOthers(half) { $0.rmsNorm([width], weight: weight.to(dtype: .bfloat16), eps: 1e-6) }, "\(width)")
      #expect(!Self.dependsOnOthers(rows) { $0.softmax(1) }, "\(width)")
      #expect(!Self.dependsOnOthers(rows) { $0.exp() }, "\(width)")
      #expect(!Self.dependsOnOthers(rows) { $0.cos() + $0.sin() }, "\(width)")
      #expect(!Self.dependsOnOthers(rows) { $0.square().log() }, "\(width)")
      #expect(!Self.dependsOnOthers(rows) { $0.topk(min(4, width), dim: 1).values }, "\(width)")
    }
    let products = Tensor.randn([100, 28, 64], generator: generator)
    #expect(!Self.dependsOnOthers(products) { $0.sum([2]) })
  }

  @Test(arguments: [(28, 24), (32, 128), (32, 192)]) func products(_ rows: Int, _ dimension: Int) {
    let generator = Generator(seed: 8)
    let left = Tensor.randn([100, rows, dimension], generator: generator)
    let right = Tensor.randn([9, 64, dimension], generator: generator).transpose(1, dim1: 2)
    let index = Tensor.randint(0..<9, [100], generator: generator)
    let packed = Tensor.cat([left.flatten(1), index.to(dtype: .float32).unsqueeze(1)], dim: 1)
    func multiply(_ packed: Tensor) -> Tensor {
      let parts = packed.splitWithSizes([rows * dimension, 1], dim: 1)
      return parts[0].contiguous().view([packed.size(0), rows, dimension])
        .rowInvariantProducts(right, parts[1].squeeze(1).to(dtype: .int64))
    }
    #expect(!Self.dependsOnOthers(packed, multiply))
    #expect(multiply(packed).allclose(left.bmm(right.indexSelect(0, index: index)), rtol: 1e-4, atol: 1e-4))
  }
}
