import TestSupport
import Testing
import Torch

/// Products by algorithms that are chosen here, on a GPU.
@Suite(.serialized, .onGPU) struct LargeProductsOnGPUTests {
  private static func matrix(_ rows: Int, _ columns: Int, seed: UInt64, _ device: Device, isTurned: Bool = false) -> Tensor {
    let shape = isTurned ? [columns, rows] : [rows, columns]
    let matrix = Tensor.randn(shape, generator: Generator(seed: seed)).to(dtype: .bfloat16, device: device)
    return isTurned ? matrix.t() : matrix
  }

  /// Whatever of left and right lies turned, as in forward and backward passes, with a bias, into what is added up in either type.
  @Test(arguments: [(16_384, 4096, 1024), (8192, 2560, 2560), (16_384, 6144, 1032), (2100, 19_456, 2560)], [false, true])
  func productsAreThoseOfLibtorch(_ size: (Int, Int, Int), hasBias: Bool) throws {
    let device = try GPU.open()
    let (rows, columns, depth) = size
    var chosen = 0
    for (turnsLeft, turnsRight) in [(false, true), (false, false), (true, false), (true, true)] {
      // Rows of a transposed matrix that are no multiple of eight apart are libtorch's.
      let left = Self.matrix(rows, depth, seed: 1, device, isTurned: turnsLeft)
      let right = Self.matrix(depth, columns, seed: 2, device, isTurned: turnsRight)
      let bias = hasBias ? Self.matrix(1, columns, seed: 3, device)[0] : nil
      for dtype in [DType.bfloat16, .float32] {
        let before = Tensor.randn([rows, columns], generator: Generator(seed: 4)).to(dtype: dtype, device: device)
        for adds in [false, true] where bias == nil || (!adds && dtype == .bfloat16) {
          let found = before.clone()
          guard Kernels.multiply(left, right, bias: bias, adds: adds, to: found) else { continue }
          chosen += 1
          var wanted = left.to(dtype: .float32).mm(right.to(dtype: .float32))
          if let bias { wanted = wanted + bias.to(dtype: .float32) }
          if adds { wanted = wanted + before.to(dtype: .float32) }
          let error = (found.to(dtype: .float32) - wanted).vectorNorm().item() / wanted.vectorNorm().item()
          #expect(error < (dtype == .float32 ? 1e-3 : 3e-3), "\(size), turned \(turnsLeft) and \(turnsRight), \(dtype): \(error)")
        }
      }
    }
    #expect(chosen > 0, "\(size)")
  }

  /// Small ones, and those whose numbers are not read 16 bytes at a time, are libtorch's.
  @Test func otherProductsAreLibtorchs() throws {
    let device = try GPU.open()
    for (rows, columns, depth) in [(64, 4096, 4096), (8192, 4096, 64), (8192, 4100, 1028)] {
      let (left, right) = (Self.matrix(rows, depth, seed: 1, device), Self.matrix(columns, depth, seed: 2, device))
      #expect(left.linearWithoutGradients(right).equal(left.linear(right)))
    }
  }
}
