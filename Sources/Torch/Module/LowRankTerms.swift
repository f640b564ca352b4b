/// What adapters add to a linear layer's outputs (Hu et al., "LoRA", 2021): y += mask(x Aᵀ) Bᵀ.
///
/// The factors of several adapters lie side by side, and each row of a batch uses the columns of its own: two products,
/// however many adapters a batch has.
public struct LowRankTerms {
  /// A of all of them. `[columns, inputs]`
  public let down: Tensor
  /// B of all of them, scaled. `[outputs, columns]`
  public let up: Tensor
  /// Whether a column is that of another adapter than its row's. `[T, columns]`, bool
  public let isOther: Tensor

  public init(down: Tensor, up: Tensor, isOther: Tensor) { (self.down, self.up, self.isOther) = (down, up, isOther) }

  /// - Parameters:
  ///   - output: what the layer makes of `input`, `[T, outputs]`.
  ///   - input: `[T, inputs]`.
  public func added(to output: Tensor, of input: Tensor) -> Tensor {
    output + input.linear(down).maskedFill(isOther, value: 0.0).linear(up)
  }
}
