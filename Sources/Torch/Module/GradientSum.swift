/// What a weight's gradients add up to over micro-batches, in fp32 or their own type. The first is taken as it is, so that
/// nothing need be zeroed.
public final class GradientSum {
  /// In the weight's shape; says nothing while `isEmpty`.
  private let tensor: Tensor
  private var isEmpty = true

  public init(_ tensor: Tensor) { self.tensor = tensor }

  public func add(_ gradient: Tensor) {
    withoutGradients { _ = isEmpty ? tensor.copy_(gradient) : tensor.add_(gradient) }
    isEmpty = false
  }

  /// Adds left · right, in one product where there is a kernel for that (Megatron's gradient accumulation fusion): what is
  /// added to fp32 is not rounded before.
  public func add(_ left: Tensor, times right: Tensor) {
    // Imagined, it is the product alone that counts.
    guard tensor.device.kind == .cuda, left.dtype != .float32 else { return add(left.mm(right)) }
    _ = withoutGradients {
      if Kernels.choose(left, right), Kernels.multiply(left, right, bias: nil, adds: !isEmpty, to: tensor) { return tensor }
      return switch (tensor.dtype == left.dtype, isEmpty) {
      case (true, true): left.mmOut(right, out: tensor)
      case (true, false): tensor.addmm_(left, mat2: right)
      case (false, true): left.mmOut(right, outDtype: tensor.dtype, out: tensor)
      case (false, false): tensor.addmmOut(left, mat2: right, outDtype: tensor.dtype, out: tensor)
      }
    }
    isEmpty = false
  }

  /// Adds each row to the one that its index names, where `Kernels.run` for rows that are a multiple of 8 wide.
  public func add(rows: Tensor, at indices: Tensor) {
    settle()
    Kernels.addRows(rows, at: indices, to: tensor)
  }

  /// Zero, where nothing was added.
  public func settle() {
    if isEmpty { withoutGradients { _ = tensor.zero_() } }
    isEmpty = false
  }

  public func forget() { isEmpty = true }
}
