extension Tensor {
  /// x Wᵀ + b with both sides in e4m3: rows of x are quantised as they come, each whole or, where the weight has groups, by
  /// groups of the same size.
  ///
  /// On a GPU a kernel of ours multiplies few rows in bf16, and on a Hopper GPU libtorch multiplies more (16 divides both
  /// sizes of W, and groups are of 128); elsewhere the same numbers are multiplied in fp32.
  /// - Returns: `[rows, outputs]`, of this tensor's type.
  public func float8Linear(_ weight: Float8Matrix, bias: Tensor? = nil) -> Tensor {
    Kernels.multiplyFewRows(self, weight)
      ? Kernels.fewRowsFloat8Linear(.plain(self), weight, bias: bias) : float8LinearByOperators(weight, bias: bias)
  }

  /// The same without the kernel for few rows.
  package func float8LinearByOperators(_ weight: Float8Matrix, bias: Tensor? = nil) -> Tensor {
    if let product = scaledProduct(weight, bias: bias) { return product }
    let rows = Float8Matrix(quantizing: self, Self.scaling(for: weight)).dequantized(.float32)
    return rows.linear(weight.dequantized(.float32), bias: bias?.to(dtype: .float32)).to(dtype: dtype)
  }

  private static func scaling(for weight: Float8Matrix) -> Float8Scaling {
    weight.groupSize.map { .block(rows: 1, columns: $0) } ?? .row
  }

  /// nil: libtorch has no kernel for this.
  private func scaledProduct(_ weight: Float8Matrix, bias: Tensor?) -> Tensor? {
    let (outputs, inputs) = (weight.values.size(0), weight.values.size(1))
    guard device.kind == .cuda, dtype == .bfloat16, size(0) > 0, inputs % 16 == 0, outputs % 16 == 0 else { return nil }
    guard weight.groupSize != nil, weight.scales.size(1) > 1 else {
      let rows = Float8Matrix(quantizing: self, .row)
      return rows.values.scaledMm(
        weight.values.t(), scaleA: rows.scales, scaleB: weight.scales.t(), bias: bias, outDtype: .bfloat16)
    }
    guard weight.groupSize == Self.kernelGroup, inputs % Self.kernelGroup == 0, Kernels.quantize(self) else { return nil }
    let (values, scales) = Kernels.quantized(self, Self.scaling(for: weight), isForBlocks: true)
    let product = values.scaledMmV2(
      weight.values.t(), scaleA: [scales], recipeA: [Self.blockwise1x128], swizzleA: [0],
      scaleB: [weight.scales.columnwise], recipeB: [Self.blockwise1x128], swizzleB: [0], outDtype: .bfloat16
    ).narrow(0, start: 0, length: size(0))
    return bias.map { product + $0 } ?? product
  }

  private static let kernelGroup = 128
  /// `at::blas::ScalingType::BlockWise1x128`
  private static let blockwise1x128 = 4
}
