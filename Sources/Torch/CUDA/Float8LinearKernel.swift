import CTorch

extension Kernels {
  /// Rows up to which `fewRowsFloat8Linear` is faster than matrix products are.
  public static let fewRowsFloat8 = 8
  /// Numbers that the rows may have together: they lie in shared memory.
  private static let fewRowsFloat8Numbers = 38_912
  /// The same where they are not plain, and lie there as bf16, too.
  private static let fewRowsFloat8FoundNumbers = 12_288
  /// Numbers that a row may have: so do the scales of an output's groups.
  private static let fewRowsFloat8Inputs = 28_672
  /// Numbers of a row that share a scale, where they do not all.
  private static let float8Group = 128

  /// Whether `fewRowsFloat8Linear` takes rows: bf16 on a GPU that knows e4m3, by a weight whose inputs 16 divides, with one
  /// scale for each output or for groups of 128.
  public static func multiplyFewRows(_ input: Tensor, _ weight: Float8Matrix) -> Bool {
    guard input.device.kind == .cuda, input.dtype == .bfloat16, quantize(input) else { return false }
    let (rows, inputs) = (input.size(0), weight.values.size(1))
    return 1...fewRowsFloat8 ~= rows && inputs % 16 == 0 && inputs <= fewRowsFloat8Inputs
      && rows * inputs <= fewRowsFloat8Numbers && (weight.scales.size(1) == 1 || weight.groupSize == float8Group)
      && input.isContiguous && weight.values.isContiguous
  }

  /// input · weightᵀ + bias + residual, of rows that are quantised on the way, as few as a batch that decodes has.
  /// - Parameters:
  ///   - input: of rows that `multiplyFewRows` says yes to.
  ///   - bias: `[outputs]`, bf16
  ///   - residual: `[rows, outputs]`, bf16
  /// - Returns: `[rows, outputs]`, bf16
  public static func fewRowsFloat8Linear(
    _ input: FewRows, _ weight: Float8Matrix, bias: Tensor?, residual: Tensor? = nil
  ) -> Tensor {
    let hasRoom = input.tensor.size(0) * weight.values.size(1) <= fewRowsFloat8FoundNumbers
    let input = hasRoom ? input : input.found()
    return withExtendedLifetime((input, weight, bias, residual)) {
      Tensor(owned: table.few_rows_float8_linear(
        input.tensor.handle, input.norm?.weight.handle, input.norm?.epsilon ?? 0, input.isGated, weight.values.handle,
        weight.scales.handle, bias?.handle, residual?.handle))
    }
  }
}
