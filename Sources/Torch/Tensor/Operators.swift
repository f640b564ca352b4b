// Made by Scripts/generate_operators.py from Scripts/operators.txt. Do not edit.
import CTorch

extension Tensor {
  /// `aten::add.Tensor`
  public func add(_ other: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_add_Tensor(handle, other.handle, alpha.scalar))
  }

  /// `aten::add.Scalar`
  public func add(_ other: some TensorScalar, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_add_Scalar(handle, other.scalar, alpha.scalar))
  }

  /// `aten::add_.Tensor`
  @discardableResult
  public func add_(_ other: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    checked(ct_op_add__Tensor(handle, other.handle, alpha.scalar))
    return self
  }

  /// `aten::add_.Scalar`
  @discardableResult
  public func add_(_ other: some TensorScalar, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_add__Scalar(handle, other.scalar, alpha.scalar))
    return self
  }

  /// `aten::sub.Tensor`
  public func sub(_ other: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_sub_Tensor(handle, other.handle, alpha.scalar))
  }

  /// `aten::sub.Scalar`
  public func sub(_ other: some TensorScalar, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sub_Scalar(handle, other.scalar, alpha.scalar))
  }

  /// `aten::sub_.Tensor`
  @discardableResult
  public func sub_(_ other: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    checked(ct_op_sub__Tensor(handle, other.handle, alpha.scalar))
    return self
  }

  /// `aten::sub_.Scalar`
  @discardableResult
  public func sub_(_ other: some TensorScalar, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_sub__Scalar(handle, other.scalar, alpha.scalar))
    return self
  }

  /// `aten::rsub.Scalar`
  public func rsub(_ other: some TensorScalar, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_rsub_Scalar(handle, other.scalar, alpha.scalar))
  }

  /// `aten::mul.Tensor`
  public func mul(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_mul_Tensor(handle, other.handle))
  }

  /// `aten::mul.Scalar`
  public func mul(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_mul_Scalar(handle, other.scalar))
  }

  /// `aten::mul_.Tensor`
  @discardableResult
  public func mul_(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    checked(ct_op_mul__Tensor(handle, other.handle))
    return self
  }

  /// `aten::mul_.Scalar`
  @discardableResult
  public func mul_(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_mul__Scalar(handle, other.scalar))
    return self
  }

  /// `aten::div.Tensor`
  public func div(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_div_Tensor(handle, other.handle))
  }

  /// `aten::div.Scalar`
  public func div(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_div_Scalar(handle, other.scalar))
  }

  /// `aten::div.Tensor_mode`
  public func div(_ other: Tensor, roundingMode: String? = nil) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return withOptionalCString(roundingMode) { roundingMode in
      Tensor(owned: ct_op_div_Tensor_mode(handle, other.handle, roundingMode))
    }
  }

  /// `aten::div_.Tensor`
  @discardableResult
  public func div_(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    checked(ct_op_div__Tensor(handle, other.handle))
    return self
  }

  /// `aten::div_.Scalar`
  @discardableResult
  public func div_(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_div__Scalar(handle, other.scalar))
    return self
  }

  /// `aten::floor_divide.Scalar`
  public func floorDivide(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_floor_divide_Scalar(handle, other.scalar))
  }

  /// `aten::remainder.Scalar`
  public func remainder(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_remainder_Scalar(handle, other.scalar))
  }

  /// `aten::remainder.Tensor`
  public func remainder(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_remainder_Tensor(handle, other.handle))
  }

  /// `aten::neg`
  public func neg() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_neg(handle))
  }

  /// `aten::abs`
  public func abs() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_abs(handle))
  }

  /// `aten::exp`
  public func exp() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_exp(handle))
  }

  /// `aten::exp_`
  @discardableResult
  public func exp_() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_exp_(handle))
    return self
  }

  /// `aten::expm1`
  public func expm1() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_expm1(handle))
  }

  /// `aten::log`
  public func log() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_log(handle))
  }

  /// `aten::log_`
  @discardableResult
  public func log_() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_log_(handle))
    return self
  }

  /// `aten::log1p`
  public func log1p() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_log1p(handle))
  }

  /// `aten::sqrt`
  public func sqrt() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sqrt(handle))
  }

  /// `aten::rsqrt`
  public func rsqrt() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_rsqrt(handle))
  }

  /// `aten::square`
  public func square() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_square(handle))
  }

  /// `aten::reciprocal`
  public func reciprocal() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_reciprocal(handle))
  }

  /// `aten::pow.Tensor_Scalar`
  public func pow(_ exponent: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_pow_Tensor_Scalar(handle, exponent.scalar))
  }

  /// `aten::sigmoid`
  public func sigmoid() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sigmoid(handle))
  }

  /// `aten::tanh`
  public func tanh() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_tanh(handle))
  }

  /// `aten::relu`
  public func relu() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_relu(handle))
  }

  /// `aten::silu`
  public func silu() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_silu(handle))
  }

  /// `aten::gelu`
  public func gelu(approximate: String = "none") -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withCString(approximate) { approximate in Tensor(owned: ct_op_gelu(handle, approximate)) }
  }

  /// `aten::cos`
  public func cos() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_cos(handle))
  }

  /// `aten::sin`
  public func sin() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sin(handle))
  }

  /// `aten::floor`
  public func floor() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_floor(handle))
  }

  /// `aten::ceil`
  public func ceil() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_ceil(handle))
  }

  /// `aten::round`
  public func round() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_round(handle))
  }

  /// `aten::sign`
  public func sign() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sign(handle))
  }

  /// `aten::clamp`
  public func clamped(_ min: (any TensorScalar)? = nil, max: (any TensorScalar)? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_clamp(handle, ct_optional_scalar(min), ct_optional_scalar(max)))
  }

  /// `aten::clamp_`
  @discardableResult
  public func clamp_(_ min: (any TensorScalar)? = nil, max: (any TensorScalar)? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_clamp_(handle, ct_optional_scalar(min), ct_optional_scalar(max)))
    return self
  }

  /// `aten::clamp_min`
  public func clampMin(_ min: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_clamp_min(handle, min.scalar))
  }

  /// `aten::clamp_max`
  public func clampMax(_ max: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_clamp_max(handle, max.scalar))
  }

  /// `aten::maximum`
  public func maximum(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_maximum(handle, other.handle))
  }

  /// `aten::minimum`
  public func minimum(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_minimum(handle, other.handle))
  }

  /// `aten::addcmul`
  public func addcmul(_ tensor1: Tensor, tensor2: Tensor, value: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, tensor1, tensor2)) {} }
    return Tensor(owned: ct_op_addcmul(handle, tensor1.handle, tensor2.handle, value.scalar))
  }

  /// `aten::addcmul_`
  @discardableResult
  public func addcmul_(_ tensor1: Tensor, tensor2: Tensor, value: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, tensor1, tensor2)) {} }
    checked(ct_op_addcmul_(handle, tensor1.handle, tensor2.handle, value.scalar))
    return self
  }

  /// `aten::addcdiv_`
  @discardableResult
  public func addcdiv_(_ tensor1: Tensor, tensor2: Tensor, value: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, tensor1, tensor2)) {} }
    checked(ct_op_addcdiv_(handle, tensor1.handle, tensor2.handle, value.scalar))
    return self
  }

  /// `aten::lerp_.Scalar`
  @discardableResult
  public func lerp_(_ end: Tensor, weight: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, end)) {} }
    checked(ct_op_lerp__Scalar(handle, end.handle, weight.scalar))
    return self
  }

  /// `aten::softplus`
  public func softplus(_ beta: any TensorScalar = 1, threshold: any TensorScalar = 20) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_softplus(handle, beta.scalar, threshold.scalar))
  }

  /// `aten::eq.Tensor`
  public func eq(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_eq_Tensor(handle, other.handle))
  }

  /// `aten::eq.Scalar`
  public func eq(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_eq_Scalar(handle, other.scalar))
  }

  /// `aten::ne.Tensor`
  public func ne(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_ne_Tensor(handle, other.handle))
  }

  /// `aten::ne.Scalar`
  public func ne(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_ne_Scalar(handle, other.scalar))
  }

  /// `aten::lt.Tensor`
  public func lt(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_lt_Tensor(handle, other.handle))
  }

  /// `aten::lt.Scalar`
  public func lt(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_lt_Scalar(handle, other.scalar))
  }

  /// `aten::le.Tensor`
  public func le(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_le_Tensor(handle, other.handle))
  }

  /// `aten::le.Scalar`
  public func le(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_le_Scalar(handle, other.scalar))
  }

  /// `aten::gt.Tensor`
  public func gt(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_gt_Tensor(handle, other.handle))
  }

  /// `aten::gt.Scalar`
  public func gt(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_gt_Scalar(handle, other.scalar))
  }

  /// `aten::ge.Tensor`
  public func ge(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_ge_Tensor(handle, other.handle))
  }

  /// `aten::ge.Scalar`
  public func ge(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_ge_Scalar(handle, other.scalar))
  }

  /// `aten::logical_and`
  public func logicalAnd(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_logical_and(handle, other.handle))
  }

  /// `aten::logical_or`
  public func logicalOr(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_logical_or(handle, other.handle))
  }

  /// `aten::logical_not`
  public func logicalNot() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_logical_not(handle))
  }

  /// `aten::bitwise_and.Tensor`
  public func bitwiseAnd(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_bitwise_and_Tensor(handle, other.handle))
  }

  /// `aten::bitwise_xor.Tensor`
  public func bitwiseXor(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_bitwise_xor_Tensor(handle, other.handle))
  }

  /// `aten::bitwise_xor.Scalar`
  public func bitwiseXor(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_bitwise_xor_Scalar(handle, other.scalar))
  }

  /// `aten::bitwise_left_shift.Tensor_Scalar`
  public func bitwiseLeftShift(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_bitwise_left_shift_Tensor_Scalar(handle, other.scalar))
  }

  /// `aten::bitwise_right_shift.Tensor_Scalar`
  public func bitwiseRightShift(_ other: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_bitwise_right_shift_Tensor_Scalar(handle, other.scalar))
  }

  /// `aten::where.self`
  public static func select(_ condition: Tensor, value: Tensor, other: Tensor) -> Tensor {
    defer { withExtendedLifetime((condition, value, other)) {} }
    return Tensor(owned: ct_op_where_self(condition.handle, value.handle, other.handle))
  }

  /// `aten::isnan`
  public func isnan() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_isnan(handle))
  }

  /// `aten::isfinite`
  public func isfinite() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_isfinite(handle))
  }

  /// `aten::isinf`
  public func isinf() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_isinf(handle))
  }

  /// `aten::equal`
  public func equal(_ other: Tensor) -> Bool {
    defer { withExtendedLifetime((self, other)) {} }
    return checked(ct_op_equal(handle, other.handle))
  }

  /// `aten::allclose`
  public func allclose(_ other: Tensor, rtol: Double = 1e-05, atol: Double = 1e-08, equalNan: Bool = false) -> Bool {
    defer { withExtendedLifetime((self, other)) {} }
    return checked(ct_op_allclose(handle, other.handle, rtol, atol, equalNan))
  }

  /// `aten::any`
  public func any() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_any(handle))
  }

  /// `aten::any.dim`
  public func any(_ dim: Int, keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_any_dim(handle, Int64(dim), keepdim))
  }

  /// `aten::all`
  public func all() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_all(handle))
  }

  /// `aten::all.dim`
  public func all(_ dim: Int, keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_all_dim(handle, Int64(dim), keepdim))
  }

  /// `aten::nonzero`
  public func nonzero() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_nonzero(handle))
  }

  /// `aten::masked_fill.Scalar`
  public func maskedFill(_ mask: Tensor, value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, mask)) {} }
    return Tensor(owned: ct_op_masked_fill_Scalar(handle, mask.handle, value.scalar))
  }

  /// `aten::masked_fill_.Scalar`
  @discardableResult
  public func maskedFill_(_ mask: Tensor, value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, mask)) {} }
    checked(ct_op_masked_fill__Scalar(handle, mask.handle, value.scalar))
    return self
  }

  /// `aten::masked_select`
  public func maskedSelect(_ mask: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, mask)) {} }
    return Tensor(owned: ct_op_masked_select(handle, mask.handle))
  }

  /// `aten::bincount`
  public func bincount(_ weights: Tensor? = nil, minlength: Int = 0) -> Tensor {
    defer { withExtendedLifetime((self, weights)) {} }
    return Tensor(owned: ct_op_bincount(handle, weights?.handle, Int64(minlength)))
  }

  /// `aten::sum`
  public func sum(_ dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_sum(handle, dtype?.rawValue ?? -1))
  }

  /// `aten::sum.dim_IntList`
  public func sum(_ dim: [Int]? = nil, keepdim: Bool = false, dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withOptionalInts(dim) { dim in
      Tensor(owned: ct_op_sum_dim_IntList(handle, dim, keepdim, dtype?.rawValue ?? -1))
    }
  }

  /// `aten::mean`
  public func mean(_ dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_mean(handle, dtype?.rawValue ?? -1))
  }

  /// `aten::mean.dim`
  public func mean(_ dim: [Int]? = nil, keepdim: Bool = false, dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withOptionalInts(dim) { dim in Tensor(owned: ct_op_mean_dim(handle, dim, keepdim, dtype?.rawValue ?? -1)) }
  }

  /// `aten::amax`
  public func amax(_ dim: [Int] = [], keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(dim) { dim in Tensor(owned: ct_op_amax(handle, dim, keepdim)) }
  }

  /// `aten::amin`
  public func amin(_ dim: [Int] = [], keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(dim) { dim in Tensor(owned: ct_op_amin(handle, dim, keepdim)) }
  }

  /// `aten::max`
  public func max() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_max(handle))
  }

  /// `aten::max.dim`
  public func max(_ dim: Int, keepdim: Bool = false) -> (values: Tensor, indices: Tensor) {
    defer { withExtendedLifetime(self) {} }
    return results2 { ct_op_max_dim(handle, Int64(dim), keepdim, $0) }
  }

  /// `aten::min`
  public func min() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_min(handle))
  }

  /// `aten::min.dim`
  public func min(_ dim: Int, keepdim: Bool = false) -> (values: Tensor, indices: Tensor) {
    defer { withExtendedLifetime(self) {} }
    return results2 { ct_op_min_dim(handle, Int64(dim), keepdim, $0) }
  }

  /// `aten::argmax`
  public func argmax(_ dim: Int? = nil, keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_argmax(handle, ct_optional_int(dim), keepdim))
  }

  /// `aten::argmin`
  public func argmin(_ dim: Int? = nil, keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_argmin(handle, ct_optional_int(dim), keepdim))
  }

  /// `aten::logsumexp`
  public func logsumexp(_ dim: [Int], keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(dim) { dim in Tensor(owned: ct_op_logsumexp(handle, dim, keepdim)) }
  }

  /// `aten::linalg_vector_norm`
  public func vectorNorm(
    _ ord: any TensorScalar = 2, dim: [Int]? = nil, keepdim: Bool = false, dtype: DType? = nil
  ) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withOptionalInts(dim) { dim in
      Tensor(owned: ct_op_linalg_vector_norm(handle, ord.scalar, dim, keepdim, dtype?.rawValue ?? -1))
    }
  }

  /// `aten::var.correction`
  public func variance(_ dim: [Int]? = nil, correction: (any TensorScalar)? = nil, keepdim: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withOptionalInts(dim) { dim in
      Tensor(owned: ct_op_var_correction(handle, dim, ct_optional_scalar(correction), keepdim))
    }
  }

  /// `aten::std.correction`
  public func standardDeviation(
    _ dim: [Int]? = nil, correction: (any TensorScalar)? = nil, keepdim: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withOptionalInts(dim) { dim in
      Tensor(owned: ct_op_std_correction(handle, dim, ct_optional_scalar(correction), keepdim))
    }
  }

  /// `aten::cumsum`
  public func cumsum(_ dim: Int, dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_cumsum(handle, Int64(dim), dtype?.rawValue ?? -1))
  }

  /// `aten::prod`
  public func prod(_ dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_prod(handle, dtype?.rawValue ?? -1))
  }

  /// `aten::topk`
  public func topk(
    _ k: Int, dim: Int = -1, largest: Bool = true, sorted: Bool = true
  ) -> (values: Tensor, indices: Tensor) {
    defer { withExtendedLifetime(self) {} }
    return results2 { ct_op_topk(handle, Int64(k), Int64(dim), largest, sorted, $0) }
  }

  /// `aten::sort`
  public func sort(_ dim: Int = -1, descending: Bool = false) -> (values: Tensor, indices: Tensor) {
    defer { withExtendedLifetime(self) {} }
    return results2 { ct_op_sort(handle, Int64(dim), descending, $0) }
  }

  /// `aten::sort.stable`
  public func sort(stable: Bool? = nil, dim: Int = -1, descending: Bool = false) -> (values: Tensor, indices: Tensor) {
    defer { withExtendedLifetime(self) {} }
    return results2 { ct_op_sort_stable(handle, ct_optional_int(stable), Int64(dim), descending, $0) }
  }

  /// `aten::argsort`
  public func argsort(_ dim: Int = -1, descending: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_argsort(handle, Int64(dim), descending))
  }

  /// `aten::softmax.int`
  public func softmax(_ dim: Int, dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_softmax_int(handle, Int64(dim), dtype?.rawValue ?? -1))
  }

  /// `aten::log_softmax.int`
  public func logSoftmax(_ dim: Int, dtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_log_softmax_int(handle, Int64(dim), dtype?.rawValue ?? -1))
  }

  /// `aten::multinomial`
  public func multinomial(_ numSamples: Int, replacement: Bool = false, generator: Generator? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_multinomial(handle, Int64(numSamples), replacement, generator?.handle))
  }

  /// `aten::searchsorted.Tensor`
  public static func searchsorted(
    _ sortedSequence: Tensor, value: Tensor, outInt32: Bool = false, right: Bool = false, side: String? = nil,
    sorter: Tensor? = nil
  ) -> Tensor {
    defer { withExtendedLifetime((sortedSequence, value, sorter)) {} }
    return withOptionalCString(side) { side in
      Tensor(owned: ct_op_searchsorted_Tensor(
        sortedSequence.handle, value.handle, outInt32, right, side, sorter?.handle
      ))
    }
  }

  /// `aten::view`
  public func view(_ size: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(size) { size in Tensor(owned: ct_op_view(handle, size)) }
  }

  /// `aten::view.dtype`
  public func viewing(_ dtype: DType) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_view_dtype(handle, dtype.rawValue))
  }

  /// `aten::reshape`
  public func reshape(_ shape: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(shape) { shape in Tensor(owned: ct_op_reshape(handle, shape)) }
  }

  /// `aten::permute`
  public func permute(_ dims: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(dims) { dims in Tensor(owned: ct_op_permute(handle, dims)) }
  }

  /// `aten::transpose.int`
  public func transpose(_ dim0: Int, dim1: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_transpose_int(handle, Int64(dim0), Int64(dim1)))
  }

  /// `aten::t`
  public func t() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_t(handle))
  }

  /// `aten::unsqueeze`
  public func unsqueeze(_ dim: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_unsqueeze(handle, Int64(dim)))
  }

  /// `aten::squeeze.dim`
  public func squeeze(_ dim: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_squeeze_dim(handle, Int64(dim)))
  }

  /// `aten::squeeze`
  public func squeeze() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_squeeze(handle))
  }

  /// `aten::expand`
  public func expand(_ size: [Int], implicit: Bool = false) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(size) { size in Tensor(owned: ct_op_expand(handle, size, implicit)) }
  }

  /// `aten::repeat`
  public func tiled(_ repeats: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(repeats) { repeats in Tensor(owned: ct_op_repeat(handle, repeats)) }
  }

  /// `aten::flatten.using_ints`
  public func flatten(_ startDim: Int = 0, endDim: Int = -1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_flatten_using_ints(handle, Int64(startDim), Int64(endDim)))
  }

  /// `aten::select.int`
  public func select(_ dim: Int, index: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_select_int(handle, Int64(dim), Int64(index)))
  }

  /// `aten::slice.Tensor`
  public func slice(_ dim: Int = 0, start: Int? = nil, end: Int? = nil, step: Int = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_slice_Tensor(
      handle, Int64(dim), ct_optional_int(start), ct_optional_int(end), Int64(step)
    ))
  }

  /// `aten::narrow`
  public func narrow(_ dim: Int, start: Int, length: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_narrow(handle, Int64(dim), Int64(start), Int64(length)))
  }

  /// `aten::split_with_sizes`
  public func splitWithSizes(_ splitSizes: [Int], dim: Int = 0) -> [Tensor] {
    defer { withExtendedLifetime(self) {} }
    return withInts(splitSizes) { splitSizes in
      Tensor.list(owned: ct_op_split_with_sizes(handle, splitSizes, Int64(dim)))
    }
  }

  /// `aten::split.Tensor`
  public func split(_ splitSize: Int, dim: Int = 0) -> [Tensor] {
    defer { withExtendedLifetime(self) {} }
    return Tensor.list(owned: ct_op_split_Tensor(handle, Int64(splitSize), Int64(dim)))
  }

  /// `aten::chunk`
  public func chunk(_ chunks: Int, dim: Int = 0) -> [Tensor] {
    defer { withExtendedLifetime(self) {} }
    return Tensor.list(owned: ct_op_chunk(handle, Int64(chunks), Int64(dim)))
  }

  /// `aten::unbind.int`
  public func unbind(_ dim: Int = 0) -> [Tensor] {
    defer { withExtendedLifetime(self) {} }
    return Tensor.list(owned: ct_op_unbind_int(handle, Int64(dim)))
  }

  /// `aten::cat`
  public static func cat(_ tensors: [Tensor], dim: Int = 0) -> Tensor {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor(owned: ct_op_cat(tensors, Int64(dim))) }
  }

  /// `aten::stack`
  public static func stack(_ tensors: [Tensor], dim: Int = 0) -> Tensor {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor(owned: ct_op_stack(tensors, Int64(dim))) }
  }

  /// `aten::flip`
  public func flip(_ dims: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(dims) { dims in Tensor(owned: ct_op_flip(handle, dims)) }
  }

  /// `aten::roll`
  public func roll(_ shifts: [Int], dims: [Int] = []) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(shifts) { shifts in withInts(dims) { dims in Tensor(owned: ct_op_roll(handle, shifts, dims)) } }
  }

  /// `aten::tril`
  public func tril(_ diagonal: Int = 0) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_tril(handle, Int64(diagonal)))
  }

  /// `aten::triu`
  public func triu(_ diagonal: Int = 0) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_triu(handle, Int64(diagonal)))
  }

  /// `aten::as_strided`
  public func asStrided(_ size: [Int], stride: [Int], storageOffset: Int? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(size) { size in
      withInts(stride) { stride in
        Tensor(owned: ct_op_as_strided(handle, size, stride, ct_optional_int(storageOffset)))
      }
    }
  }

  /// `aten::unflatten.int`
  public func unflatten(_ dim: Int, sizes: [Int]) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(sizes) { sizes in Tensor(owned: ct_op_unflatten_int(handle, Int64(dim), sizes)) }
  }

  /// `aten::movedim.int`
  public func movedim(_ source: Int, destination: Int) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_movedim_int(handle, Int64(source), Int64(destination)))
  }

  /// `aten::repeat_interleave.self_int`
  public func repeatInterleave(_ repeats: Int, dim: Int? = nil, outputSize: Int? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_repeat_interleave_self_int(
      handle, Int64(repeats), ct_optional_int(dim), ct_optional_int(outputSize)
    ))
  }

  /// `aten::repeat_interleave.self_Tensor`
  public func repeatInterleave(_ repeats: Tensor, dim: Int? = nil, outputSize: Int? = nil) -> Tensor {
    defer { withExtendedLifetime((self, repeats)) {} }
    return Tensor(owned: ct_op_repeat_interleave_self_Tensor(
      handle, repeats.handle, ct_optional_int(dim), ct_optional_int(outputSize)
    ))
  }

  /// `aten::diagonal`
  public func diagonal(_ offset: Int = 0, dim1: Int = 0, dim2: Int = 1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_diagonal(handle, Int64(offset), Int64(dim1), Int64(dim2)))
  }

  /// `aten::constant_pad_nd`
  public func constantPadNd(_ pad: [Int], value: any TensorScalar = 0) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(pad) { pad in Tensor(owned: ct_op_constant_pad_nd(handle, pad, value.scalar)) }
  }

  /// `aten::index_select`
  public func indexSelect(_ dim: Int, index: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index)) {} }
    return Tensor(owned: ct_op_index_select(handle, Int64(dim), index.handle))
  }

  /// `aten::gather`
  public func gather(_ dim: Int, index: Tensor, sparseGrad: Bool = false) -> Tensor {
    defer { withExtendedLifetime((self, index)) {} }
    return Tensor(owned: ct_op_gather(handle, Int64(dim), index.handle, sparseGrad))
  }

  /// `aten::scatter.src`
  public func scatter(_ dim: Int, index: Tensor, src: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index, src)) {} }
    return Tensor(owned: ct_op_scatter_src(handle, Int64(dim), index.handle, src.handle))
  }

  /// `aten::scatter.value`
  public func scatter(_ dim: Int, index: Tensor, value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, index)) {} }
    return Tensor(owned: ct_op_scatter_value(handle, Int64(dim), index.handle, value.scalar))
  }

  /// `aten::scatter_.src`
  @discardableResult
  public func scatter_(_ dim: Int, index: Tensor, src: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index, src)) {} }
    checked(ct_op_scatter__src(handle, Int64(dim), index.handle, src.handle))
    return self
  }

  /// `aten::scatter_.value`
  @discardableResult
  public func scatter_(_ dim: Int, index: Tensor, value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, index)) {} }
    checked(ct_op_scatter__value(handle, Int64(dim), index.handle, value.scalar))
    return self
  }

  /// `aten::scatter_add`
  public func scatterAdd(_ dim: Int, index: Tensor, src: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index, src)) {} }
    return Tensor(owned: ct_op_scatter_add(handle, Int64(dim), index.handle, src.handle))
  }

  /// `aten::scatter_add_`
  @discardableResult
  public func scatterAdd_(_ dim: Int, index: Tensor, src: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index, src)) {} }
    checked(ct_op_scatter_add_(handle, Int64(dim), index.handle, src.handle))
    return self
  }

  /// `aten::index_add`
  public func indexAdd(_ dim: Int, index: Tensor, source: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, index, source)) {} }
    return Tensor(owned: ct_op_index_add(handle, Int64(dim), index.handle, source.handle, alpha.scalar))
  }

  /// `aten::index_add_`
  @discardableResult
  public func indexAdd_(_ dim: Int, index: Tensor, source: Tensor, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, index, source)) {} }
    checked(ct_op_index_add_(handle, Int64(dim), index.handle, source.handle, alpha.scalar))
    return self
  }

  /// `aten::index_copy_`
  @discardableResult
  public func indexCopy_(_ dim: Int, index: Tensor, source: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, index, source)) {} }
    checked(ct_op_index_copy_(handle, Int64(dim), index.handle, source.handle))
    return self
  }

  /// `aten::index_fill_.int_Scalar`
  @discardableResult
  public func indexFill_(_ dim: Int, index: Tensor, value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime((self, index)) {} }
    checked(ct_op_index_fill__int_Scalar(handle, Int64(dim), index.handle, value.scalar))
    return self
  }

  /// `aten::take_along_dim`
  public func takeAlongDim(_ indices: Tensor, dim: Int? = nil) -> Tensor {
    defer { withExtendedLifetime((self, indices)) {} }
    return Tensor(owned: ct_op_take_along_dim(handle, indices.handle, ct_optional_int(dim)))
  }

  /// `aten::embedding`
  public static func embedding(
    _ weight: Tensor, indices: Tensor, paddingIdx: Int = -1, scaleGradByFreq: Bool = false, sparse: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime((weight, indices)) {} }
    return Tensor(owned: ct_op_embedding(weight.handle, indices.handle, Int64(paddingIdx), scaleGradByFreq, sparse))
  }

  /// `aten::embedding_dense_backward`
  public static func embeddingDenseBackward(
    _ gradOutput: Tensor, indices: Tensor, numWeights: Int, paddingIdx: Int, scaleGradByFreq: Bool
  ) -> Tensor {
    defer { withExtendedLifetime((gradOutput, indices)) {} }
    return Tensor(owned: ct_op_embedding_dense_backward(
      gradOutput.handle, indices.handle, Int64(numWeights), Int64(paddingIdx), scaleGradByFreq
    ))
  }

  /// `aten::one_hot`
  public func oneHot(_ numClasses: Int = -1) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_one_hot(handle, Int64(numClasses)))
  }

  /// `aten::matmul`
  public func matmul(_ other: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, other)) {} }
    return Tensor(owned: ct_op_matmul(handle, other.handle))
  }

  /// `aten::mm`
  public func mm(_ mat2: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, mat2)) {} }
    return Tensor(owned: ct_op_mm(handle, mat2.handle))
  }

  /// `aten::mm.out`
  @discardableResult
  public func mmOut(_ mat2: Tensor, out: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, mat2, out)) {} }
    checked(ct_op_mm_out(handle, mat2.handle, out.handle))
    return out
  }

  /// `aten::mm.dtype_out`
  @discardableResult
  public func mmOut(_ mat2: Tensor, outDtype: DType, out: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, mat2, out)) {} }
    checked(ct_op_mm_dtype_out(handle, mat2.handle, outDtype.rawValue, out.handle))
    return out
  }

  /// `aten::bmm`
  public func bmm(_ mat2: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, mat2)) {} }
    return Tensor(owned: ct_op_bmm(handle, mat2.handle))
  }

  /// `aten::addmm`
  public func addmm(_ mat1: Tensor, mat2: Tensor, beta: any TensorScalar = 1, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, mat1, mat2)) {} }
    return Tensor(owned: ct_op_addmm(handle, mat1.handle, mat2.handle, beta.scalar, alpha.scalar))
  }

  /// `aten::addmm_`
  @discardableResult
  public func addmm_(_ mat1: Tensor, mat2: Tensor, beta: any TensorScalar = 1, alpha: any TensorScalar = 1) -> Tensor {
    defer { withExtendedLifetime((self, mat1, mat2)) {} }
    checked(ct_op_addmm_(handle, mat1.handle, mat2.handle, beta.scalar, alpha.scalar))
    return self
  }

  /// `aten::addmm.dtype_out`
  @discardableResult
  public func addmmOut(
    _ mat1: Tensor, mat2: Tensor, outDtype: DType, beta: any TensorScalar = 1, alpha: any TensorScalar = 1, out: Tensor
  ) -> Tensor {
    defer { withExtendedLifetime((self, mat1, mat2, out)) {} }
    checked(ct_op_addmm_dtype_out(
      handle, mat1.handle, mat2.handle, outDtype.rawValue, beta.scalar, alpha.scalar, out.handle
    ))
    return out
  }

  /// `aten::baddbmm`
  public func baddbmm(
    _ batch1: Tensor, batch2: Tensor, beta: any TensorScalar = 1, alpha: any TensorScalar = 1
  ) -> Tensor {
    defer { withExtendedLifetime((self, batch1, batch2)) {} }
    return Tensor(owned: ct_op_baddbmm(handle, batch1.handle, batch2.handle, beta.scalar, alpha.scalar))
  }

  /// `aten::linear`
  public func linear(_ weight: Tensor, bias: Tensor? = nil) -> Tensor {
    defer { withExtendedLifetime((self, weight, bias)) {} }
    return Tensor(owned: ct_op_linear(handle, weight.handle, bias?.handle))
  }

  /// `aten::einsum`
  public static func einsum(_ equation: String, tensors: [Tensor], path: [Int]? = nil) -> Tensor {
    defer { withExtendedLifetime(tensors) {} }
    return withCString(equation) { equation in
      withHandles(tensors) { tensors in
        withOptionalInts(path) { path in Tensor(owned: ct_op_einsum(equation, tensors, path)) }
      }
    }
  }

  /// `aten::outer`
  public func outer(_ vec2: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, vec2)) {} }
    return Tensor(owned: ct_op_outer(handle, vec2.handle))
  }

  /// `aten::linalg_solve_triangular`
  public func solveTriangular(_ B: Tensor, upper: Bool, left: Bool = true, unitriangular: Bool = false) -> Tensor {
    defer { withExtendedLifetime((self, B)) {} }
    return Tensor(owned: ct_op_linalg_solve_triangular(handle, B.handle, upper, left, unitriangular))
  }

  /// `aten::_grouped_mm`
  public func groupedMm(_ mat2: Tensor, offs: Tensor? = nil, bias: Tensor? = nil, outDtype: DType? = nil) -> Tensor {
    defer { withExtendedLifetime((self, mat2, offs, bias)) {} }
    return Tensor(owned: ct_op__grouped_mm(handle, mat2.handle, offs?.handle, bias?.handle, outDtype?.rawValue ?? -1))
  }

  /// `aten::_scaled_mm`
  public func scaledMm(
    _ mat2: Tensor, scaleA: Tensor, scaleB: Tensor, bias: Tensor? = nil, scaleResult: Tensor? = nil,
    outDtype: DType? = nil, useFastAccum: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime((self, mat2, scaleA, scaleB, bias, scaleResult)) {} }
    return Tensor(owned: ct_op__scaled_mm(
      handle, mat2.handle, scaleA.handle, scaleB.handle, bias?.handle, scaleResult?.handle, outDtype?.rawValue ?? -1,
      useFastAccum
    ))
  }

  /// `aten::_scaled_mm_v2`
  public func scaledMmV2(
    _ mat2: Tensor, scaleA: [Tensor], recipeA: [Int], swizzleA: [Int], scaleB: [Tensor], recipeB: [Int],
    swizzleB: [Int], bias: Tensor? = nil, outDtype: DType? = nil, contractionDim: [Int] = [], useFastAccum: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime((self, mat2, scaleA, scaleB, bias)) {} }
    return withHandles(scaleA) { scaleA in
      withInts(recipeA) { recipeA in
        withInts(swizzleA) { swizzleA in
          withHandles(scaleB) { scaleB in
            withInts(recipeB) { recipeB in
              withInts(swizzleB) { swizzleB in
                withInts(contractionDim) { contractionDim in
                  Tensor(owned: ct_op__scaled_mm_v2(
                    handle, mat2.handle, scaleA, recipeA, swizzleA, scaleB, recipeB, swizzleB, bias?.handle,
                    outDtype?.rawValue ?? -1, contractionDim, useFastAccum
                  ))
                }
              }
            }
          }
        }
      }
    }
  }

  /// `aten::_scaled_grouped_mm`
  public func scaledGroupedMm(
    _ mat2: Tensor, scaleA: Tensor, scaleB: Tensor, offs: Tensor? = nil, bias: Tensor? = nil,
    scaleResult: Tensor? = nil, outDtype: DType? = nil, useFastAccum: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime((self, mat2, scaleA, scaleB, offs, bias, scaleResult)) {} }
    return Tensor(owned: ct_op__scaled_grouped_mm(
      handle, mat2.handle, scaleA.handle, scaleB.handle, offs?.handle, bias?.handle, scaleResult?.handle,
      outDtype?.rawValue ?? -1, useFastAccum
    ))
  }

  /// `aten::rms_norm`
  public func rmsNorm(_ normalizedShape: [Int], weight: Tensor? = nil, eps: Double? = nil) -> Tensor {
    defer { withExtendedLifetime((self, weight)) {} }
    return withInts(normalizedShape) { normalizedShape in
      Tensor(owned: ct_op_rms_norm(handle, normalizedShape, weight?.handle, ct_optional_double(eps)))
    }
  }

  /// `aten::_fused_rms_norm`
  public func fusedRmsNorm(_ normalizedShape: [Int], weight: Tensor? = nil, eps: Double? = nil) -> (Tensor, Tensor) {
    defer { withExtendedLifetime((self, weight)) {} }
    return withInts(normalizedShape) { normalizedShape in
      results2 { ct_op__fused_rms_norm(handle, normalizedShape, weight?.handle, ct_optional_double(eps), $0) }
    }
  }

  /// `aten::_fused_rms_norm_backward`
  public static func fusedRmsNormBackward(
    _ gradOut: Tensor, input: Tensor, normalizedShape: [Int], rstd: Tensor, weight: Tensor? = nil, outputMask: [Bool]
  ) -> (Tensor, Tensor) {
    defer { withExtendedLifetime((gradOut, input, rstd, weight)) {} }
    return withInts(normalizedShape) { normalizedShape in
      withBools(outputMask) { outputMask in
        results2 { ct_op__fused_rms_norm_backward(
          gradOut.handle, input.handle, normalizedShape, rstd.handle, weight?.handle, outputMask, $0
        ) }
      }
    }
  }

  /// `aten::layer_norm`
  public func layerNorm(
    _ normalizedShape: [Int], weight: Tensor? = nil, bias: Tensor? = nil, eps: Double = 1e-05, cudnnEnable: Bool = true
  ) -> Tensor {
    defer { withExtendedLifetime((self, weight, bias)) {} }
    return withInts(normalizedShape) { normalizedShape in
      Tensor(owned: ct_op_layer_norm(handle, normalizedShape, weight?.handle, bias?.handle, eps, cudnnEnable))
    }
  }

  /// `aten::dropout`
  public func dropout(_ p: Double, train: Bool) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return Tensor(owned: ct_op_dropout(handle, p, train))
  }

  /// `aten::scaled_dot_product_attention`
  public func scaledDotProductAttention(
    _ key: Tensor, value: Tensor, attnMask: Tensor? = nil, dropoutP: Double = 0.0, isCausal: Bool = false,
    scale: Double? = nil, enableGqa: Bool = false
  ) -> Tensor {
    defer { withExtendedLifetime((self, key, value, attnMask)) {} }
    return Tensor(owned: ct_op_scaled_dot_product_attention(
      handle, key.handle, value.handle, attnMask?.handle, dropoutP, isCausal, ct_optional_double(scale), enableGqa
    ))
  }

  /// `aten::_upsample_bicubic2d_aa`
  public func upsampleBicubic2dAa(
    _ outputSize: [Int], alignCorners: Bool, scalesH: Double? = nil, scalesW: Double? = nil
  ) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    return withInts(outputSize) { outputSize in
      Tensor(owned: ct_op__upsample_bicubic2d_aa(
        handle, outputSize, alignCorners, ct_optional_double(scalesH), ct_optional_double(scalesW)
      ))
    }
  }

  /// `aten::_scaled_dot_product_flash_attention_for_cpu`
  public func scaledDotProductFlashAttentionForCpu(
    _ key: Tensor, value: Tensor, dropoutP: Double = 0.0, isCausal: Bool = false, attnMask: Tensor? = nil,
    scale: Double? = nil
  ) -> (output: Tensor, logsumexp: Tensor) {
    defer { withExtendedLifetime((self, key, value, attnMask)) {} }
    return results2 { ct_op__scaled_dot_product_flash_attention_for_cpu(
      handle, key.handle, value.handle, dropoutP, isCausal, attnMask?.handle, ct_optional_double(scale), $0
    ) }
  }

  /// `aten::_scaled_dot_product_flash_attention_for_cpu_backward`
  public static func scaledDotProductFlashAttentionForCpuBackward(
    _ gradOut: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logsumexp: Tensor, dropoutP: Double,
    isCausal: Bool, attnMask: Tensor? = nil, scale: Double? = nil
  ) -> (gradQuery: Tensor, gradKey: Tensor, gradValue: Tensor) {
    defer { withExtendedLifetime((gradOut, query, key, value, out, logsumexp, attnMask)) {} }
    return results3 { ct_op__scaled_dot_product_flash_attention_for_cpu_backward(
      gradOut.handle, query.handle, key.handle, value.handle, out.handle, logsumexp.handle, dropoutP, isCausal,
      attnMask?.handle, ct_optional_double(scale), $0
    ) }
  }

  /// `aten::_flash_attention_forward`
  public func flashAttentionForward(
    _ key: Tensor, value: Tensor, cumSeqQ: Tensor? = nil, cumSeqK: Tensor? = nil, maxQ: Int, maxK: Int,
    dropoutP: Double, isCausal: Bool, returnDebugMask: Bool, scale: Double? = nil, windowSizeLeft: Int? = nil,
    windowSizeRight: Int? = nil, sequsedK: Tensor? = nil, alibiSlopes: Tensor? = nil
  ) -> (output: Tensor, softmaxLogsumexp: Tensor, rngState: Tensor, unused: Tensor, debugAttnMask: Tensor) {
    defer { withExtendedLifetime((self, key, value, cumSeqQ, cumSeqK, sequsedK, alibiSlopes)) {} }
    return results5 { ct_op__flash_attention_forward(
      handle, key.handle, value.handle, cumSeqQ?.handle, cumSeqK?.handle, Int64(maxQ), Int64(maxK), dropoutP, isCausal,
      returnDebugMask, ct_optional_double(scale), ct_optional_int(windowSizeLeft), ct_optional_int(windowSizeRight),
      sequsedK?.handle, alibiSlopes?.handle, $0
    ) }
  }

  /// `aten::_flash_attention_backward`
  public static func flashAttentionBackward(
    _ gradOut: Tensor, query: Tensor, key: Tensor, value: Tensor, out: Tensor, logsumexp: Tensor, cumSeqQ: Tensor,
    cumSeqK: Tensor, maxQ: Int, maxK: Int, dropoutP: Double, isCausal: Bool, rngState: Tensor, unused: Tensor,
    scale: Double? = nil, windowSizeLeft: Int? = nil, windowSizeRight: Int? = nil
  ) -> (Tensor, Tensor, Tensor) {
    defer { withExtendedLifetime((gradOut, query, key, value, out, logsumexp, cumSeqQ, cumSeqK, rngState, unused)) {} }
    return results3 { ct_op__flash_attention_backward(
      gradOut.handle, query.handle, key.handle, value.handle, out.handle, logsumexp.handle, cumSeqQ.handle,
      cumSeqK.handle, Int64(maxQ), Int64(maxK), dropoutP, isCausal, rngState.handle, unused.handle,
      ct_optional_double(scale), ct_optional_int(windowSizeLeft), ct_optional_int(windowSizeRight), $0
    ) }
  }

  /// `aten::nll_loss`
  public func nllLoss(_ target: Tensor, weight: Tensor? = nil, reduction: Int = 1, ignoreIndex: Int = -100) -> Tensor {
    defer { withExtendedLifetime((self, target, weight)) {} }
    return Tensor(owned: ct_op_nll_loss(handle, target.handle, weight?.handle, Int64(reduction), Int64(ignoreIndex)))
  }

  /// `aten::cross_entropy_loss`
  public func crossEntropyLoss(
    _ target: Tensor, weight: Tensor? = nil, reduction: Int = 1, ignoreIndex: Int = -100, labelSmoothing: Double = 0.0
  ) -> Tensor {
    defer { withExtendedLifetime((self, target, weight)) {} }
    return Tensor(owned: ct_op_cross_entropy_loss(
      handle, target.handle, weight?.handle, Int64(reduction), Int64(ignoreIndex), labelSmoothing
    ))
  }

  /// `aten::copy_`
  @discardableResult
  public func copy_(_ src: Tensor, nonBlocking: Bool = false) -> Tensor {
    defer { withExtendedLifetime((self, src)) {} }
    checked(ct_op_copy_(handle, src.handle, nonBlocking))
    return self
  }

  /// `aten::fill_.Scalar`
  @discardableResult
  public func fill_(_ value: some TensorScalar) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_fill__Scalar(handle, value.scalar))
    return self
  }

  /// `aten::fill_.Tensor`
  @discardableResult
  public func fill_(_ value: Tensor) -> Tensor {
    defer { withExtendedLifetime((self, value)) {} }
    checked(ct_op_fill__Tensor(handle, value.handle))
    return self
  }

  /// `aten::zero_`
  @discardableResult
  public func zero_() -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_zero_(handle))
    return self
  }

  /// `aten::uniform_`
  @discardableResult
  public func uniform_(_ from: Double = 0, to: Double = 1, generator: Generator? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_uniform_(handle, from, to, generator?.handle))
    return self
  }

  /// `aten::normal_`
  @discardableResult
  public func normal_(_ mean: Double = 0, std: Double = 1, generator: Generator? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_normal_(handle, mean, std, generator?.handle))
    return self
  }

  /// `aten::exponential_`
  @discardableResult
  public func exponential_(_ lambd: Double = 1, generator: Generator? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_exponential_(handle, lambd, generator?.handle))
    return self
  }

  /// `aten::bernoulli_.float`
  @discardableResult
  public func bernoulli_(_ p: Double = 0.5, generator: Generator? = nil) -> Tensor {
    defer { withExtendedLifetime(self) {} }
    checked(ct_op_bernoulli__float(handle, p, generator?.handle))
    return self
  }

  /// `aten::_fused_adamw_`
  public static func fusedAdamw_(
    _ tensors: [Tensor], grads: [Tensor], expAvgs: [Tensor], expAvgSqs: [Tensor], maxExpAvgSqs: [Tensor],
    stateSteps: [Tensor], lr: Double, beta1: Double, beta2: Double, weightDecay: Double, eps: Double, amsgrad: Bool,
    maximize: Bool, gradScale: Tensor? = nil, foundInf: Tensor? = nil
  ) {
    defer { withExtendedLifetime(
      (tensors, grads, expAvgs, expAvgSqs, maxExpAvgSqs, stateSteps, gradScale, foundInf)
    ) {} }
    withHandles(tensors) { tensors in
      withHandles(grads) { grads in
        withHandles(expAvgs) { expAvgs in
          withHandles(expAvgSqs) { expAvgSqs in
            withHandles(maxExpAvgSqs) { maxExpAvgSqs in
              withHandles(stateSteps) { stateSteps in
                checked(ct_op__fused_adamw_(
                  tensors, grads, expAvgs, expAvgSqs, maxExpAvgSqs, stateSteps, lr, beta1, beta2, weightDecay, eps,
                  amsgrad, maximize, gradScale?.handle, foundInf?.handle
                ))
              }
            }
          }
        }
      }
    }
  }

  /// `aten::_fused_adam_`
  public static func fusedAdam_(
    _ tensors: [Tensor], grads: [Tensor], expAvgs: [Tensor], expAvgSqs: [Tensor], maxExpAvgSqs: [Tensor],
    stateSteps: [Tensor], lr: Double, beta1: Double, beta2: Double, weightDecay: Double, eps: Double, amsgrad: Bool,
    maximize: Bool, gradScale: Tensor? = nil, foundInf: Tensor? = nil
  ) {
    defer { withExtendedLifetime(
      (tensors, grads, expAvgs, expAvgSqs, maxExpAvgSqs, stateSteps, gradScale, foundInf)
    ) {} }
    withHandles(tensors) { tensors in
      withHandles(grads) { grads in
        withHandles(expAvgs) { expAvgs in
          withHandles(expAvgSqs) { expAvgSqs in
            withHandles(maxExpAvgSqs) { maxExpAvgSqs in
              withHandles(stateSteps) { stateSteps in
                checked(ct_op__fused_adam_(
                  tensors, grads, expAvgs, expAvgSqs, maxExpAvgSqs, stateSteps, lr, beta1, beta2, weightDecay, eps,
                  amsgrad, maximize, gradScale?.handle, foundInf?.handle
                ))
              }
            }
          }
        }
      }
    }
  }

  /// `aten::_fused_sgd_`
  public static func fusedSgd_(
    _ tensors: [Tensor], grads: [Tensor], momentumBufferList: [Tensor], weightDecay: Double, momentum: Double,
    lr: Double, dampening: Double, nesterov: Bool, maximize: Bool, isFirstStep: Bool, gradScale: Tensor? = nil,
    foundInf: Tensor? = nil
  ) {
    defer { withExtendedLifetime((tensors, grads, momentumBufferList, gradScale, foundInf)) {} }
    withHandles(tensors) { tensors in
      withHandles(grads) { grads in
        withHandles(momentumBufferList) { momentumBufferList in
          checked(ct_op__fused_sgd_(
            tensors, grads, momentumBufferList, weightDecay, momentum, lr, dampening, nesterov, maximize, isFirstStep,
            gradScale?.handle, foundInf?.handle
          ))
        }
      }
    }
  }

  /// `aten::_foreach_add_.Scalar`
  public static func foreachAdd_(_ tensors: [Tensor], scalar: some TensorScalar) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_add__Scalar(tensors, scalar.scalar)) }
  }

  /// `aten::_foreach_add_.List`
  public static func foreachAdd_(_ tensors: [Tensor], other: [Tensor], alpha: any TensorScalar = 1) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in
      withHandles(other) { other in checked(ct_op__foreach_add__List(tensors, other, alpha.scalar)) }
    }
  }

  /// `aten::_foreach_add_.Tensor`
  public static func foreachAdd_(_ tensors: [Tensor], other: Tensor, alpha: any TensorScalar = 1) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_add__Tensor(tensors, other.handle, alpha.scalar)) }
  }

  /// `aten::_foreach_add.List`
  public static func foreachAdd(_ tensors: [Tensor], other: [Tensor], alpha: any TensorScalar = 1) -> [Tensor] {
    defer { withExtendedLifetime((tensors, other)) {} }
    return withHandles(tensors) { tensors in
      withHandles(other) { other in Tensor.list(owned: ct_op__foreach_add_List(tensors, other, alpha.scalar)) }
    }
  }

  /// `aten::_foreach_sub_.List`
  public static func foreachSub_(_ tensors: [Tensor], other: [Tensor], alpha: any TensorScalar = 1) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in
      withHandles(other) { other in checked(ct_op__foreach_sub__List(tensors, other, alpha.scalar)) }
    }
  }

  /// `aten::_foreach_mul_.Scalar`
  public static func foreachMul_(_ tensors: [Tensor], scalar: some TensorScalar) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_mul__Scalar(tensors, scalar.scalar)) }
  }

  /// `aten::_foreach_mul_.List`
  public static func foreachMul_(_ tensors: [Tensor], other: [Tensor]) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in
      withHandles(other) { other in checked(ct_op__foreach_mul__List(tensors, other)) }
    }
  }

  /// `aten::_foreach_mul_.Tensor`
  public static func foreachMul_(_ tensors: [Tensor], other: Tensor) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_mul__Tensor(tensors, other.handle)) }
  }

  /// `aten::_foreach_mul.Scalar`
  public static func foreachMul(_ tensors: [Tensor], scalar: some TensorScalar) -> [Tensor] {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor.list(owned: ct_op__foreach_mul_Scalar(tensors, scalar.scalar)) }
  }

  /// `aten::_foreach_div_.Scalar`
  public static func foreachDiv_(_ tensors: [Tensor], scalar: some TensorScalar) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_div__Scalar(tensors, scalar.scalar)) }
  }

  /// `aten::_foreach_div_.List`
  public static func foreachDiv_(_ tensors: [Tensor], other: [Tensor]) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in
      withHandles(other) { other in checked(ct_op__foreach_div__List(tensors, other)) }
    }
  }

  /// `aten::_foreach_lerp_.Scalar`
  public static func foreachLerp_(_ tensors: [Tensor], tensors1: [Tensor], weight: some TensorScalar) {
    defer { withExtendedLifetime((tensors, tensors1)) {} }
    withHandles(tensors) { tensors in
      withHandles(tensors1) { tensors1 in checked(ct_op__foreach_lerp__Scalar(tensors, tensors1, weight.scalar)) }
    }
  }

  /// `aten::_foreach_addcmul_.Scalar`
  public static func foreachAddcmul_(
    _ tensors: [Tensor], tensor1: [Tensor], tensor2: [Tensor], value: any TensorScalar = 1
  ) {
    defer { withExtendedLifetime((tensors, tensor1, tensor2)) {} }
    withHandles(tensors) { tensors in
      withHandles(tensor1) { tensor1 in
        withHandles(tensor2) { tensor2 in
          checked(ct_op__foreach_addcmul__Scalar(tensors, tensor1, tensor2, value.scalar))
        }
      }
    }
  }

  /// `aten::_foreach_addcdiv_.Scalar`
  public static func foreachAddcdiv_(
    _ tensors: [Tensor], tensor1: [Tensor], tensor2: [Tensor], value: any TensorScalar = 1
  ) {
    defer { withExtendedLifetime((tensors, tensor1, tensor2)) {} }
    withHandles(tensors) { tensors in
      withHandles(tensor1) { tensor1 in
        withHandles(tensor2) { tensor2 in
          checked(ct_op__foreach_addcdiv__Scalar(tensors, tensor1, tensor2, value.scalar))
        }
      }
    }
  }

  /// `aten::_foreach_sqrt`
  public static func foreachSqrt(_ tensors: [Tensor]) -> [Tensor] {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor.list(owned: ct_op__foreach_sqrt(tensors)) }
  }

  /// `aten::_foreach_sqrt_`
  public static func foreachSqrt_(_ tensors: [Tensor]) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_sqrt_(tensors)) }
  }

  /// `aten::_foreach_neg_`
  public static func foreachNeg_(_ tensors: [Tensor]) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_neg_(tensors)) }
  }

  /// `aten::_foreach_abs`
  public static func foreachAbs(_ tensors: [Tensor]) -> [Tensor] {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor.list(owned: ct_op__foreach_abs(tensors)) }
  }

  /// `aten::_foreach_maximum_.List`
  public static func foreachMaximum_(_ tensors: [Tensor], other: [Tensor]) {
    defer { withExtendedLifetime((tensors, other)) {} }
    withHandles(tensors) { tensors in
      withHandles(other) { other in checked(ct_op__foreach_maximum__List(tensors, other)) }
    }
  }

  /// `aten::_foreach_clamp_min_.Scalar`
  public static func foreachClampMin_(_ tensors: [Tensor], scalar: some TensorScalar) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_clamp_min__Scalar(tensors, scalar.scalar)) }
  }

  /// `aten::_foreach_norm.Scalar`
  public static func foreachNorm(_ tensors: [Tensor], ord: any TensorScalar = 2, dtype: DType? = nil) -> [Tensor] {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in
      Tensor.list(owned: ct_op__foreach_norm_Scalar(tensors, ord.scalar, dtype?.rawValue ?? -1))
    }
  }

  /// `aten::_foreach_zero_`
  public static func foreachZero_(_ tensors: [Tensor]) {
    defer { withExtendedLifetime(tensors) {} }
    withHandles(tensors) { tensors in checked(ct_op__foreach_zero_(tensors)) }
  }

  /// `aten::_foreach_copy_`
  public static func foreachCopy_(_ tensors: [Tensor], src: [Tensor], nonBlocking: Bool = false) {
    defer { withExtendedLifetime((tensors, src)) {} }
    withHandles(tensors) { tensors in
      withHandles(src) { src in checked(ct_op__foreach_copy_(tensors, src, nonBlocking)) }
    }
  }

  /// `aten::_amp_foreach_non_finite_check_and_unscale_`
  public static func ampForeachNonFiniteCheckAndUnscale_(_ tensors: [Tensor], foundInf: Tensor, invScale: Tensor) {
    defer { withExtendedLifetime((tensors, foundInf, invScale)) {} }
    withHandles(tensors) { tensors in
      checked(ct_op__amp_foreach_non_finite_check_and_unscale_(tensors, foundInf.handle, invScale.handle))
    }
  }

  /// `aten::_chunk_cat`
  public static func chunkCat(_ tensors: [Tensor], dim: Int, numChunks: Int) -> Tensor {
    defer { withExtendedLifetime(tensors) {} }
    return withHandles(tensors) { tensors in Tensor(owned: ct_op__chunk_cat(tensors, Int64(dim), Int64(numChunks))) }
  }
}
