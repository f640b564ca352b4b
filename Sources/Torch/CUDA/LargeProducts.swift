import CTorch

// Matrix products of many rows, by an algorithm that may be faster than the one that libtorch asks cuBLAS for; without gradients.
extension Tensor {
  /// `mm`
  public func product(_ right: Tensor) -> Tensor { chosenProduct(right, bias: nil) ?? mm(right) }

  /// `linear`
  public func linearWithoutGradients(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    chosenProduct(weight.t(), bias: bias) ?? linear(weight, bias: bias)
  }

  private func chosenProduct(_ right: Tensor, bias: Tensor?) -> Tensor? {
    guard Kernels.choose(self, right) else { return nil }
    let output = Tensor.empty([size(0), right.size(1)], dtype: dtype, device: device)
    return Kernels.multiply(self, right, bias: bias, adds: false, to: output) ? output : nil
  }
}

extension Kernels {
  /// Whether there may be an algorithm for it.
  static func choose(_ left: Tensor, _ right: Tensor) -> Bool {
    left.device.kind == .cuda && run(on: left.device, left.dtype) && right.dtype == left.dtype && left.size(0) >= 512
  }

  /// output = left · right + bias, or added to the output, which may be fp32.
  /// - Returns: false: libtorch's is as fast, and nothing was done.
  package static func multiply(_ left: Tensor, _ right: Tensor, bias: Tensor?, adds: Bool, to output: Tensor) -> Bool {
    withExtendedLifetime((left, right, bias, output)) {
      checked(table.large_product(left.handle, right.handle, bias?.handle, adds, output.handle))
    }
  }
}
