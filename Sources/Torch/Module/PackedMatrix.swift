import CTorch

/// A copy of a weight in the layout that oneDNN's products on a CPU want, which otherwise bring the weight there each time.
///
/// It knows the weight that it was made of, and how often that had been written to, so that it never stands for other numbers.
public struct PackedMatrix {
  fileprivate let packed: Tensor
  private let source: Tensor
  private let changeCount: Int64

  /// nil: this CPU, the weight's type or libtorch has no such layout.
  init?(_ weight: Tensor) {
    guard let packed = withExtendedLifetime(weight, { checked(ct_packed(weight.handle)) }) else { return nil }
    (self.packed, source, changeCount) = (Tensor(owned: packed), weight, weight.changeCount)
  }

  /// Whether the weight is still what this was made of. Writes that no operator makes do not count.
  func isCopy(of weight: Tensor) -> Bool { source === weight && changeCount == weight.changeCount }
}

extension Tensor {
  /// x Wᵀ + b, without gradients. `[T, inputs]` → `[T, outputs]`
  public func linear(_ weight: PackedMatrix, bias: Tensor? = nil) -> Tensor {
    withExtendedLifetime((self, weight.packed, bias)) {
      Tensor(owned: ct_packed_linear(handle, weight.packed.handle, bias?.handle))
    }
  }

  fileprivate var changeCount: Int64 { withExtendedLifetime(self) { checked(ct_change_count(handle)) } }
}

/// Whoever packs a weight owns it: nobody else writes to it, and the owner unpacks it first.
extension Parameter {
  /// Makes its packed copy, where there is such a thing. What is trained has none.
  package func pack() {
    guard quantization == nil, gradientSum == nil, !tensor.requiresGrad else { return }
    packedCopy = PackedMatrix(tensor)
  }

  /// Lets the packed copy go.
  package func unpack() { packedCopy = nil }

  /// The packed copy; nil: there is none.
  public var packed: PackedMatrix? { packedCopy.flatMap { $0.isCopy(of: tensor) ? $0 : nil } }
}
