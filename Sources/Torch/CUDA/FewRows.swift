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

  var isGated: Bool {
    if case .gated = self { return true }
    return false
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
  ///   - input: of rows that `multiplyFewRows` says yes to.
  ///   - weight: `[outputs, inputs]`, contiguous.
  ///   - bias: `[outputs]`
  ///   - residual: `[rows, outputs]`
  public static func fewRowsLinear(_ input: FewRows, _ weight: Tensor, bias: Tensor?, residual: Tensor? = nil) -> Tensor {
    var (norm, epsilon) = (Tensor?.none, 0.0)
    if case .normed(_, let weight, let own) = input { (norm, epsilon) = (weight, own) }
    let rows = input.tensor
    return withExtendedLifetime((rows, norm, weight, bias, residual)) {
      Tensor(owned: table.few_rows_linear(
        rows.handle, norm?.handle, epsilon, input.isGated, weight.handle, bias?.handle, residual?.handle))
    }
  }
}
