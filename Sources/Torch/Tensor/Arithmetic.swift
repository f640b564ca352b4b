import CTorch

// Operators that read as mathematics.
extension Tensor {
  public static func + (a: Tensor, b: Tensor) -> Tensor { a.add(b) }
  public static func + (a: Tensor, b: some TensorScalar) -> Tensor { a.add(b) }
  public static func + (a: some TensorScalar, b: Tensor) -> Tensor { b.add(a) }
  public static func - (a: Tensor, b: Tensor) -> Tensor { a.sub(b) }
  public static func - (a: Tensor, b: some TensorScalar) -> Tensor { a.sub(b) }
  public static func - (a: some TensorScalar, b: Tensor) -> Tensor { b.rsub(a) }
  public static func * (a: Tensor, b: Tensor) -> Tensor { a.mul(b) }
  public static func * (a: Tensor, b: some TensorScalar) -> Tensor { a.mul(b) }
  public static func * (a: some TensorScalar, b: Tensor) -> Tensor { b.mul(a) }
  public static func / (a: Tensor, b: Tensor) -> Tensor { a.div(b) }
  public static func / (a: Tensor, b: some TensorScalar) -> Tensor { a.div(b) }
  public static func / (a: some TensorScalar, b: Tensor) -> Tensor { b.reciprocal().mul(a) }
  public static prefix func - (a: Tensor) -> Tensor { a.neg() }

  /// Elements or rows picked by index tensors, one a leading dimension (`aten::index`).
  public func index(_ indices: [Tensor?]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: withOptionalHandles(indices) { ct_index(handle, $0) })
  }

  public func indexPut_(_ indices: [Tensor?], _ values: Tensor, accumulate: Bool = false) {
    defer { withExtendedLifetime((self, values)) {} }
    withOptionalHandles(indices) { ct_index_put(handle, $0, values.handle, accumulate) }
    checkTorchError()
  }

  /// Rows `range` of dimension 0.
  public subscript(range: Range<Int>) -> Tensor { narrow(0, start: range.lowerBound, length: range.count) }

  /// Row `index` of dimension 0.
  public subscript(index: Int) -> Tensor { select(0, index: index) }
}
