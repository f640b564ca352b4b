import TestSupport
import Testing
import Torch

/// Rows that are added to rows of a weight's gradient, on a GPU.
@Suite(.serialized, .onGPU) struct GradientSumOnGPUTests {
  @Test(arguments: [DType.float32, .bfloat16], [true, false]) func rowsAreAddedUp(_ dtype: DType, isFirst: Bool) throws {
    let device = try GPU.open()
    let (count, width, height) = (1000, 72, 300)
    let rows = Tensor.randn([count, width], generator: Generator(seed: 1)).to(dtype: .bfloat16, device: device)
    let before = Tensor.randn([height, width], generator: Generator(seed: 2)).to(dtype: dtype, device: device)
    // One index for a third of the rows, others once or a few times, some never.
    let indices = Tensor((0..<count).map { $0 % 3 == 0 ? 7 : $0 * $0 % height }).to(device: device)
    func found() -> Tensor {
      // What stands there says nothing before something was added.
      let values = Tensor.full([height, width], 5, dtype: dtype, device: device)
      let sum = GradientSum(values)
      if !isFirst { sum.add(before) }
      sum.add(rows: rows, at: indices)
      return values
    }
    var wanted = Tensor.embeddingDenseBackward(
      rows.to(dtype: .float32), indices: indices, numWeights: height, paddingIdx: -1, scaleGradByFreq: false)
    if !isFirst { wanted = wanted + before.to(dtype: .float32) }
    let error = (found().to(dtype: .float32) - wanted).vectorNorm().item() / wanted.vectorNorm().item()
    #expect(error < (dtype == .float32 ? 1e-6 : 3e-3), "\(error)")
    #expect(found().equal(found()))
  }
}
