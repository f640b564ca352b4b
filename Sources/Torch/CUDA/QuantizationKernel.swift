import CTorch

extension Kernels {
  /// Whether `quantized` takes a matrix.
  static func quantize(_ matrix: Tensor) -> Bool {
    guard run(on: matrix.device, .bfloat16), matrix.device.kind == .cuda, matrix.shape.count == 2 else { return false }
    guard matrix.dtype == .bfloat16 || matrix.dtype == .float32, matrix.strides[1] == 1 else { return false }
    // What rounds to e4m3 came with Ada.
    return capability(of: matrix.device) >= 89
  }

  /// Rows of bf16 or fp32 as e4m3, with the largest number of each that share a scale at e4m3's largest.
  /// - Returns: `[rows, columns]`, e4m3, and the scales of each row, `[rows, groups]`, fp32.
  ///   Where `isForBlocks`, as products with scales of blocks take them: rows by fours, the last ones of anything, and scales
  ///   column by column.
  static func quantized(
    _ matrix: Tensor, _ scaling: Float8Scaling, isForBlocks: Bool = false
  ) -> (values: Tensor, scales: Tensor) {
    let (height, width) =
      switch scaling {
      case .tensor: (0, matrix.size(1))
      case .row: (1, matrix.size(1))
      case .block(let height, let width): (height, width)
      }
    return withExtendedLifetime(matrix) {
      pair { table.quantize(matrix.handle, Int32(height), Int32(max(width, 1)), isForBlocks, &$0, &$1) }
    }
  }
}
