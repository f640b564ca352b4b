import CTorch

/// A Swift number as an operand of a tensor operation.
public protocol TensorScalar {
  var scalar: ct_scalar { get }
}

extension BinaryInteger {
  public var scalar: ct_scalar { ct_scalar(floating: 0, integer: Int64(self), is_integer: true) }
}
extension BinaryFloatingPoint {
  public var scalar: ct_scalar { ct_scalar(floating: Double(self), integer: 0, is_integer: false) }
}
extension Int: TensorScalar {}
extension Int32: TensorScalar {}
extension Double: TensorScalar {}
extension Float: TensorScalar {}
extension Bool: TensorScalar {
  public var scalar: ct_scalar { ct_scalar(floating: 0, integer: self ? 1 : 0, is_integer: true) }
}

/// A Swift type whose arrays become tensors and back.
public protocol TensorElement {
  static var dtype: DType { get }
}
extension Float: TensorElement { public static var dtype: DType { .float32 } }
extension Double: TensorElement { public static var dtype: DType { .float64 } }
extension Int: TensorElement { public static var dtype: DType { .int64 } }
extension Int64: TensorElement { public static var dtype: DType { .int64 } }
extension Int32: TensorElement { public static var dtype: DType { .int32 } }
extension UInt8: TensorElement { public static var dtype: DType { .uint8 } }
extension Bool: TensorElement { public static var dtype: DType { .bool } }
