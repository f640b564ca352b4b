/// What a weight's gradients add up to over micro-batches, in fp32. The first is taken as it is, so that nothing need be
/// zeroed.
public final class GradientSum {
  /// fp32, in the weight's shape; says nothing while `isEmpty`.
  private let tensor: Tensor
  private var isEmpty = true

  public init(_ tensor: Tensor) { self.tensor = tensor }

  public func add(_ gradient: Tensor) {
    withoutGradients { _ = isEmpty ? tensor.copy_(gradient) : tensor.add_(gradient) }
    isEmpty = false
  }

  /// Adds left · right, whose products are summed in fp32 where there is a kernel for that (Megatron's gradient
  /// accumulation fusion).
  public func add(_ left: Tensor, times right: Tensor) {
    // Imagined, it is the product alone that counts.
    guard tensor.device.kind == .cuda, left.dtype != .float32 else { return add(left.mm(right)) }
    withoutGradients {
      _ = isEmpty
        ? left.mmOut(right, outDtype: .float32, out: tensor)
        : tensor.addmmOut(left, mat2: right, outDtype: .float32, out: tensor)
    }
    isEmpty = false
  }

  /// Zero, where nothing was added.
  public func settle() {
    if isEmpty { withoutGradients { _ = tensor.zero_() } }
    isEmpty = false
  }

  public func forget() { isEmpty = true }
}
