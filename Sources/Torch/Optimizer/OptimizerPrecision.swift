/// The types in which an optimizer keeps what it needs besides the weights that a model computes with (Megatron-Core's
/// precision-aware optimizer). Whatever they are, it computes in fp32.
public struct OptimizerPrecision: Sendable, Equatable, Codable {
  /// bf16 weights are trained as they are, beside what each lacks of fp32; otherwise fp32 ones are kept beside them.
  public var keepsRemainders = false
  /// In which gradients add up and are summed over ranks: fp32 or bf16.
  public var gradients = DType.float32
  /// Of the moments: fp32 or bf16.
  public var firstMoments = DType.float32
  public var secondMoments = DType.float32

  public init() {}
}
