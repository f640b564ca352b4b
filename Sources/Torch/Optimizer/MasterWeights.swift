/// fp32 numbers that are trained: as such, or as bf16 numbers and what each lacks of fp32.
///
/// In two parts they are exact in 4 bytes a number, of which a model computes with the first two (Transformer Engine's
/// `store_param_remainders`). A number half-way between two of bf16 goes to the one further from zero, where a cast takes
/// the even one: else 16 bits could not say from which side it came.
public struct MasterWeights {
  /// fp32, or bf16 where there are `remainders`.
  public let values: Tensor
  /// int16: how far the bits of fp32 are above those of `values`, 16 zeros behind them.
  public let remainders: Tensor?

  public init(_ values: Tensor, remainders: Tensor? = nil) { (self.values, self.remainders) = (values, remainders) }

  /// fp32 numbers in two parts.
  public static func split(_ numbers: Tensor) -> (values: Tensor, remainders: Tensor) {
    let bits = numbers.detached().contiguous().viewing(.int32)
    let low = bits.bitwiseLeftShift(16).bitwiseRightShift(16)
    let high = (bits - low).bitwiseRightShift(16)
    return (high.to(dtype: .int16).viewing(.bfloat16), low.to(dtype: .int16))
  }

  /// fp32, in the shape of `values`: themselves where they are that.
  public var whole: Tensor {
    guard let remainders else { return values }
    let bits = values.detached().viewing(.int16).to(dtype: .int32).bitwiseLeftShift(16) + remainders.to(dtype: .int32)
    return bits.viewing(.float32)
  }

  /// Some of the numbers, one after another, in the same memory.
  public subscript(range: Range<Int>) -> MasterWeights {
    MasterWeights(values.flatten()[range], remainders: remainders?.flatten()[range])
  }

  /// Takes as many fp32 numbers as there are, in any shape.
  public func take(_ numbers: Tensor) {
    guard let remainders else {
      if numbers !== values { values.copy_(numbers.reshape(values.shape)) }
      return
    }
    let parts = Self.split(numbers.to(device: values.device))
    values.copy_(parts.values.view(values.shape))
    remainders.copy_(parts.remainders.view(remainders.shape))
  }
}
