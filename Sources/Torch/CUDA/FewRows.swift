import CTorch

/// The rows of a small batch that decodes, as a product takes them: what stands before it is computed beside it.
/// All contiguous, in bf16.
public enum FewRows {
  /// `[rows, inputs]`
  case plain(Tensor)
  /// Their root-mean-square norm. `[rows, inputs]`, weight `[inputs]`
  case normed(Tensor, weight: Tensor, epsilon: Double)
  /// silu(gate) · up of `[rows, 2 · inputs]`, gate first.
  case gated(Tensor)

  var tensor: Tensor {
    switch self {
    case .plain(let rows), .normed(let rows, _, _), .gated(let rows): rows
    }
  }

  var norm: (weight: Tensor, epsilon: Double)? {
    if case .normed(_, let weight, let epsilon) = self { return (weight, epsilon) }
    return nil
  }

  var isGated: Bool {
    if case .gated = self { return true }
    return false
  }

  /// The same, found by a kernel of its own.
  func found() -> FewRows {
    switch self {
    case .plain: self
    case .normed(let rows, let weight, let epsilon):
      .plain(Kernels.addNorm(rows, nil, weight: weight, epsilon: epsilon).normed)
    case .gated(let both): .plain(Kernels.siluMultiply(both))
    }
  }
}

extension Kernels {
  /// Rows up to which `fewRowsLinear` is faster than matrix products are.
  public static let fewRows = 4
  /// Numbers that the rows may have together: they lie in shared memory.
  private static let fewRowsNumbers = 24_576

  /// Whether `fewRowsLinear` takes so many rows, in bf16 on a GPU.
  public static func multiplyFewRows(_ rows: Int, inputs: Int) -> Bool {
    1...fewRows ~= rows && inputs % 8 == 0 && rows * inputs <= fewRowsNumbers
  }

  /// input · weightᵀ + bias + residual: what a batch that decodes multiplies. Without gradients.
  /// - Parameters:
  ///   - input: of rows that `multiplyFewRows` says yes to, or `multiplyFewRowsInvariantly`.
  ///   - weight: `[outputs, inputs]`, contiguous.
  ///   - bias: `[outputs]`
  ///   - residual: `[rows, outputs]`
  ///   - isInvariant: whether a row is the same bits as by `rowInvariantLinear`, and `addNorm`, `siluMultiply` and sums.
  public static func fewRowsLinear(
    _ input: FewRows, _ weight: Tensor, bias: Tensor?, residual: Tensor? = nil, isInvariant: Bool = false
  ) -> Tensor {
    let multiply = isInvariant ? table.invariant_few_rows_linear! : table.few_rows_linear!
    return withExtendedLifetime((input, weight, bias, residual)) {
      Tensor(owned: multiply(
        input.tensor.handle, input.norm?.weight.handle, input.norm?.epsilon ?? 0, input.isGated, weight.handle, bias?.handle,
        residual?.handle))
    }
  }
}
