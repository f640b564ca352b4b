// Made by Scripts/generate_operators.py from Scripts/operators.txt. Do not edit.
#include "internal.h"

using namespace ctorch;

ct_tensor ct_op_add_Tensor(ct_tensor self, ct_tensor other, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::add(ctorch::borrow(self), ctorch::borrow(other), ctorch::scalar(alpha))); });
}

ct_tensor ct_op_add_Scalar(ct_tensor self, ct_scalar other, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::add(ctorch::borrow(self), ctorch::scalar(other), ctorch::scalar(alpha))); });
}

void ct_op_add__Tensor(ct_tensor self, ct_tensor other, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).add_(ctorch::borrow(other), ctorch::scalar(alpha)); });
}

void ct_op_add__Scalar(ct_tensor self, ct_scalar other, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).add_(ctorch::scalar(other), ctorch::scalar(alpha)); });
}

ct_tensor ct_op_sub_Tensor(ct_tensor self, ct_tensor other, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sub(ctorch::borrow(self), ctorch::borrow(other), ctorch::scalar(alpha))); });
}

ct_tensor ct_op_sub_Scalar(ct_tensor self, ct_scalar other, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sub(ctorch::borrow(self), ctorch::scalar(other), ctorch::scalar(alpha))); });
}

void ct_op_sub__Tensor(ct_tensor self, ct_tensor other, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).sub_(ctorch::borrow(other), ctorch::scalar(alpha)); });
}

void ct_op_sub__Scalar(ct_tensor self, ct_scalar other, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).sub_(ctorch::scalar(other), ctorch::scalar(alpha)); });
}

ct_tensor ct_op_rsub_Scalar(ct_tensor self, ct_scalar other, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::rsub(ctorch::borrow(self), ctorch::scalar(other), ctorch::scalar(alpha))); });
}

ct_tensor ct_op_mul_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::mul(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_mul_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::mul(ctorch::borrow(self), ctorch::scalar(other))); });
}

void ct_op_mul__Tensor(ct_tensor self, ct_tensor other) {
  guarded([&] { ctorch::borrow(self).mul_(ctorch::borrow(other)); });
}

void ct_op_mul__Scalar(ct_tensor self, ct_scalar other) {
  guarded([&] { ctorch::borrow(self).mul_(ctorch::scalar(other)); });
}

ct_tensor ct_op_div_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::div(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_div_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::div(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_div_Tensor_mode(ct_tensor self, ct_tensor other, const char* rounding_mode) {
  return guarded<>(ct_tensor{}, [&] { return give(at::div(ctorch::borrow(self), ctorch::borrow(other), ctorch::optional_text(rounding_mode))); });
}

void ct_op_div__Tensor(ct_tensor self, ct_tensor other) {
  guarded([&] { ctorch::borrow(self).div_(ctorch::borrow(other)); });
}

void ct_op_div__Scalar(ct_tensor self, ct_scalar other) {
  guarded([&] { ctorch::borrow(self).div_(ctorch::scalar(other)); });
}

ct_tensor ct_op_floor_divide_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::floor_divide(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_remainder_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::remainder(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_remainder_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::remainder(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_neg(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::neg(ctorch::borrow(self))); });
}

ct_tensor ct_op_abs(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::abs(ctorch::borrow(self))); });
}

ct_tensor ct_op_exp(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::exp(ctorch::borrow(self))); });
}

void ct_op_exp_(ct_tensor self) {
  guarded([&] { at::exp_(ctorch::borrow(self)); });
}

ct_tensor ct_op_expm1(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::expm1(ctorch::borrow(self))); });
}

ct_tensor ct_op_log(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::log(ctorch::borrow(self))); });
}

void ct_op_log_(ct_tensor self) {
  guarded([&] { at::log_(ctorch::borrow(self)); });
}

ct_tensor ct_op_log1p(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::log1p(ctorch::borrow(self))); });
}

ct_tensor ct_op_sqrt(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sqrt(ctorch::borrow(self))); });
}

ct_tensor ct_op_rsqrt(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::rsqrt(ctorch::borrow(self))); });
}

ct_tensor ct_op_square(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::square(ctorch::borrow(self))); });
}

ct_tensor ct_op_reciprocal(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::reciprocal(ctorch::borrow(self))); });
}

ct_tensor ct_op_pow_Tensor_Scalar(ct_tensor self, ct_scalar exponent) {
  return guarded<>(ct_tensor{}, [&] { return give(at::pow(ctorch::borrow(self), ctorch::scalar(exponent))); });
}

ct_tensor ct_op_sigmoid(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sigmoid(ctorch::borrow(self))); });
}

ct_tensor ct_op_tanh(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::tanh(ctorch::borrow(self))); });
}

ct_tensor ct_op_relu(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::relu(ctorch::borrow(self))); });
}

ct_tensor ct_op_silu(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::silu(ctorch::borrow(self))); });
}

ct_tensor ct_op_gelu(ct_tensor self, const char* approximate) {
  return guarded<>(ct_tensor{}, [&] { return give(at::gelu(ctorch::borrow(self), approximate)); });
}

ct_tensor ct_op_cos(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::cos(ctorch::borrow(self))); });
}

ct_tensor ct_op_sin(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sin(ctorch::borrow(self))); });
}

ct_tensor ct_op_floor(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::floor(ctorch::borrow(self))); });
}

ct_tensor ct_op_ceil(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::ceil(ctorch::borrow(self))); });
}

ct_tensor ct_op_round(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::round(ctorch::borrow(self))); });
}

ct_tensor ct_op_sign(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sign(ctorch::borrow(self))); });
}

ct_tensor ct_op_clamp(ct_tensor self, ct_optional_scalar min, ct_optional_scalar max) {
  return guarded<>(ct_tensor{}, [&] { return give(at::clamp(ctorch::borrow(self), ctorch::optional(min), ctorch::optional(max))); });
}

void ct_op_clamp_(ct_tensor self, ct_optional_scalar min, ct_optional_scalar max) {
  guarded([&] { at::clamp_(ctorch::borrow(self), ctorch::optional(min), ctorch::optional(max)); });
}

ct_tensor ct_op_clamp_min(ct_tensor self, ct_scalar min) {
  return guarded<>(ct_tensor{}, [&] { return give(at::clamp_min(ctorch::borrow(self), ctorch::scalar(min))); });
}

ct_tensor ct_op_clamp_max(ct_tensor self, ct_scalar max) {
  return guarded<>(ct_tensor{}, [&] { return give(at::clamp_max(ctorch::borrow(self), ctorch::scalar(max))); });
}

ct_tensor ct_op_maximum(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::maximum(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_minimum(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::minimum(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_addcmul(ct_tensor self, ct_tensor tensor1, ct_tensor tensor2, ct_scalar value) {
  return guarded<>(ct_tensor{}, [&] { return give(at::addcmul(ctorch::borrow(self), ctorch::borrow(tensor1), ctorch::borrow(tensor2), ctorch::scalar(value))); });
}

void ct_op_addcmul_(ct_tensor self, ct_tensor tensor1, ct_tensor tensor2, ct_scalar value) {
  guarded([&] { ctorch::borrow(self).addcmul_(ctorch::borrow(tensor1), ctorch::borrow(tensor2), ctorch::scalar(value)); });
}

void ct_op_addcdiv_(ct_tensor self, ct_tensor tensor1, ct_tensor tensor2, ct_scalar value) {
  guarded([&] { ctorch::borrow(self).addcdiv_(ctorch::borrow(tensor1), ctorch::borrow(tensor2), ctorch::scalar(value)); });
}

void ct_op_lerp__Scalar(ct_tensor self, ct_tensor end, ct_scalar weight) {
  guarded([&] { ctorch::borrow(self).lerp_(ctorch::borrow(end), ctorch::scalar(weight)); });
}

ct_tensor ct_op_softplus(ct_tensor self, ct_scalar beta, ct_scalar threshold) {
  return guarded<>(ct_tensor{}, [&] { return give(at::softplus(ctorch::borrow(self), ctorch::scalar(beta), ctorch::scalar(threshold))); });
}

ct_tensor ct_op_eq_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::eq(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_eq_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::eq(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_ne_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::ne(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_ne_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::ne(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_lt_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::lt(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_lt_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::lt(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_le_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::le(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_le_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::le(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_gt_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::gt(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_gt_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::gt(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_ge_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::ge(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_ge_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::ge(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_logical_and(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::logical_and(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_logical_or(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::logical_or(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_logical_not(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::logical_not(ctorch::borrow(self))); });
}

ct_tensor ct_op_bitwise_and_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bitwise_and(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_bitwise_xor_Tensor(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bitwise_xor(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_bitwise_xor_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bitwise_xor(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_bitwise_left_shift_Tensor_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bitwise_left_shift(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_bitwise_right_shift_Tensor_Scalar(ct_tensor self, ct_scalar other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bitwise_right_shift(ctorch::borrow(self), ctorch::scalar(other))); });
}

ct_tensor ct_op_where_self(ct_tensor condition, ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::where(ctorch::borrow(condition), ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_isnan(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::isnan(ctorch::borrow(self))); });
}

ct_tensor ct_op_isfinite(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::isfinite(ctorch::borrow(self))); });
}

ct_tensor ct_op_isinf(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::isinf(ctorch::borrow(self))); });
}

bool ct_op_equal(ct_tensor self, ct_tensor other) {
  return guarded<>(false, [&] { return at::equal(ctorch::borrow(self), ctorch::borrow(other)); });
}

bool ct_op_allclose(ct_tensor self, ct_tensor other, double rtol, double atol, bool equal_nan) {
  return guarded<>(false, [&] { return at::allclose(ctorch::borrow(self), ctorch::borrow(other), rtol, atol, equal_nan); });
}

ct_tensor ct_op_any(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::any(ctorch::borrow(self))); });
}

ct_tensor ct_op_any_dim(ct_tensor self, int64_t dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::any(ctorch::borrow(self), dim, keepdim)); });
}

ct_tensor ct_op_all(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::all(ctorch::borrow(self))); });
}

ct_tensor ct_op_all_dim(ct_tensor self, int64_t dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::all(ctorch::borrow(self), dim, keepdim)); });
}

ct_tensor ct_op_nonzero(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::nonzero(ctorch::borrow(self))); });
}

ct_tensor ct_op_masked_fill_Scalar(ct_tensor self, ct_tensor mask, ct_scalar value) {
  return guarded<>(ct_tensor{}, [&] { return give(at::masked_fill(ctorch::borrow(self), ctorch::borrow(mask), ctorch::scalar(value))); });
}

void ct_op_masked_fill__Scalar(ct_tensor self, ct_tensor mask, ct_scalar value) {
  guarded([&] { ctorch::borrow(self).masked_fill_(ctorch::borrow(mask), ctorch::scalar(value)); });
}

ct_tensor ct_op_masked_select(ct_tensor self, ct_tensor mask) {
  return guarded<>(ct_tensor{}, [&] { return give(at::masked_select(ctorch::borrow(self), ctorch::borrow(mask))); });
}

ct_tensor ct_op_bincount(ct_tensor self, ct_tensor weights, int64_t minlength) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bincount(ctorch::borrow(self), ctorch::optional(weights), minlength)); });
}

ct_tensor ct_op_sum(ct_tensor self, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sum(ctorch::borrow(self), ctorch::dtype(dtype))); });
}

ct_tensor ct_op_sum_dim_IntList(ct_tensor self, ct_ints dim, bool keepdim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::sum(ctorch::borrow(self), ctorch::optional_ints(dim), keepdim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_mean(ct_tensor self, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::mean(ctorch::borrow(self), ctorch::dtype(dtype))); });
}

ct_tensor ct_op_mean_dim(ct_tensor self, ct_ints dim, bool keepdim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::mean(ctorch::borrow(self), ctorch::optional_ints(dim), keepdim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_amax(ct_tensor self, ct_ints dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::amax(ctorch::borrow(self), ctorch::ints(dim), keepdim)); });
}

ct_tensor ct_op_amin(ct_tensor self, ct_ints dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::amin(ctorch::borrow(self), ctorch::ints(dim), keepdim)); });
}

ct_tensor ct_op_max(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::max(ctorch::borrow(self))); });
}

void ct_op_max_dim(ct_tensor self, int64_t dim, bool keepdim, ct_tensor* results) {
  guarded([&] { auto all = at::max(ctorch::borrow(self), dim, keepdim); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

ct_tensor ct_op_min(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::min(ctorch::borrow(self))); });
}

void ct_op_min_dim(ct_tensor self, int64_t dim, bool keepdim, ct_tensor* results) {
  guarded([&] { auto all = at::min(ctorch::borrow(self), dim, keepdim); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

ct_tensor ct_op_argmax(ct_tensor self, ct_optional_int dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::argmax(ctorch::borrow(self), ctorch::optional(dim), keepdim)); });
}

ct_tensor ct_op_argmin(ct_tensor self, ct_optional_int dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::argmin(ctorch::borrow(self), ctorch::optional(dim), keepdim)); });
}

ct_tensor ct_op_logsumexp(ct_tensor self, ct_ints dim, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::logsumexp(ctorch::borrow(self), ctorch::ints(dim), keepdim)); });
}

ct_tensor ct_op_linalg_vector_norm(ct_tensor self, ct_scalar ord, ct_ints dim, bool keepdim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::linalg_vector_norm(ctorch::borrow(self), ctorch::scalar(ord), ctorch::optional_ints(dim), keepdim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_var_correction(ct_tensor self, ct_ints dim, ct_optional_scalar correction, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::var(ctorch::borrow(self), ctorch::optional_ints(dim), ctorch::optional(correction), keepdim)); });
}

ct_tensor ct_op_std_correction(ct_tensor self, ct_ints dim, ct_optional_scalar correction, bool keepdim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::std(ctorch::borrow(self), ctorch::optional_ints(dim), ctorch::optional(correction), keepdim)); });
}

ct_tensor ct_op_cumsum(ct_tensor self, int64_t dim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::cumsum(ctorch::borrow(self), dim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_prod(ct_tensor self, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::prod(ctorch::borrow(self), ctorch::dtype(dtype))); });
}

void ct_op_topk(ct_tensor self, int64_t k, int64_t dim, bool largest, bool sorted, ct_tensor* results) {
  guarded([&] { auto all = at::topk(ctorch::borrow(self), k, dim, largest, sorted); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

void ct_op_sort(ct_tensor self, int64_t dim, bool descending, ct_tensor* results) {
  guarded([&] { auto all = at::sort(ctorch::borrow(self), dim, descending); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

void ct_op_sort_stable(ct_tensor self, ct_optional_int stable, int64_t dim, bool descending, ct_tensor* results) {
  guarded([&] { auto all = at::sort(ctorch::borrow(self), ctorch::optional_bool(stable), dim, descending); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

ct_tensor ct_op_argsort(ct_tensor self, int64_t dim, bool descending) {
  return guarded<>(ct_tensor{}, [&] { return give(at::argsort(ctorch::borrow(self), dim, descending)); });
}

ct_tensor ct_op_softmax_int(ct_tensor self, int64_t dim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::softmax(ctorch::borrow(self), dim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_log_softmax_int(ct_tensor self, int64_t dim, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::log_softmax(ctorch::borrow(self), dim, ctorch::dtype(dtype))); });
}

ct_tensor ct_op_multinomial(ct_tensor self, int64_t num_samples, bool replacement, ct_generator generator) {
  return guarded<>(ct_tensor{}, [&] { return give(at::multinomial(ctorch::borrow(self), num_samples, replacement, ctorch::optional(generator))); });
}

ct_tensor ct_op_searchsorted_Tensor(ct_tensor sorted_sequence, ct_tensor self, bool out_int32, bool right, const char* side, ct_tensor sorter) {
  return guarded<>(ct_tensor{}, [&] { return give(at::searchsorted(ctorch::borrow(sorted_sequence), ctorch::borrow(self), out_int32, right, ctorch::optional_text(side), ctorch::optional(sorter))); });
}

ct_tensor ct_op_view(ct_tensor self, ct_ints size) {
  return guarded<>(ct_tensor{}, [&] { return give(ctorch::borrow(self).view(ctorch::ints(size))); });
}

ct_tensor ct_op_view_dtype(ct_tensor self, int32_t dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(ctorch::borrow(self).view(*ctorch::dtype(dtype))); });
}

ct_tensor ct_op_reshape(ct_tensor self, ct_ints shape) {
  return guarded<>(ct_tensor{}, [&] { return give(at::reshape(ctorch::borrow(self), ctorch::ints(shape))); });
}

ct_tensor ct_op_permute(ct_tensor self, ct_ints dims) {
  return guarded<>(ct_tensor{}, [&] { return give(at::permute(ctorch::borrow(self), ctorch::ints(dims))); });
}

ct_tensor ct_op_transpose_int(ct_tensor self, int64_t dim0, int64_t dim1) {
  return guarded<>(ct_tensor{}, [&] { return give(at::transpose(ctorch::borrow(self), dim0, dim1)); });
}

ct_tensor ct_op_t(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::t(ctorch::borrow(self))); });
}

ct_tensor ct_op_unsqueeze(ct_tensor self, int64_t dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::unsqueeze(ctorch::borrow(self), dim)); });
}

ct_tensor ct_op_squeeze_dim(ct_tensor self, int64_t dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::squeeze(ctorch::borrow(self), dim)); });
}

ct_tensor ct_op_squeeze(ct_tensor self) {
  return guarded<>(ct_tensor{}, [&] { return give(at::squeeze(ctorch::borrow(self))); });
}

ct_tensor ct_op_expand(ct_tensor self, ct_ints size, bool implicit) {
  return guarded<>(ct_tensor{}, [&] { return give(ctorch::borrow(self).expand(ctorch::ints(size), implicit)); });
}

ct_tensor ct_op_repeat(ct_tensor self, ct_ints repeats) {
  return guarded<>(ct_tensor{}, [&] { return give(ctorch::borrow(self).repeat(ctorch::ints(repeats))); });
}

ct_tensor ct_op_flatten_using_ints(ct_tensor self, int64_t start_dim, int64_t end_dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::flatten(ctorch::borrow(self), start_dim, end_dim)); });
}

ct_tensor ct_op_select_int(ct_tensor self, int64_t dim, int64_t index) {
  return guarded<>(ct_tensor{}, [&] { return give(at::select(ctorch::borrow(self), dim, index)); });
}

ct_tensor ct_op_slice_Tensor(ct_tensor self, int64_t dim, ct_optional_int start, ct_optional_int end, int64_t step) {
  return guarded<>(ct_tensor{}, [&] { return give(at::slice(ctorch::borrow(self), dim, ctorch::optional(start), ctorch::optional(end), step)); });
}

ct_tensor ct_op_narrow(ct_tensor self, int64_t dim, int64_t start, int64_t length) {
  return guarded<>(ct_tensor{}, [&] { return give(at::narrow(ctorch::borrow(self), dim, start, length)); });
}

ct_tensor_array ct_op_split_with_sizes(ct_tensor self, ct_ints split_sizes, int64_t dim) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::split_with_sizes(ctorch::borrow(self), ctorch::ints(split_sizes), dim)); });
}

ct_tensor_array ct_op_split_Tensor(ct_tensor self, int64_t split_size, int64_t dim) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::split(ctorch::borrow(self), split_size, dim)); });
}

ct_tensor_array ct_op_chunk(ct_tensor self, int64_t chunks, int64_t dim) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::chunk(ctorch::borrow(self), chunks, dim)); });
}

ct_tensor_array ct_op_unbind_int(ct_tensor self, int64_t dim) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::unbind(ctorch::borrow(self), dim)); });
}

ct_tensor ct_op_cat(ct_tensors tensors, int64_t dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::cat(ctorch::tensors(tensors), dim)); });
}

ct_tensor ct_op_stack(ct_tensors tensors, int64_t dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::stack(ctorch::tensors(tensors), dim)); });
}

ct_tensor ct_op_flip(ct_tensor self, ct_ints dims) {
  return guarded<>(ct_tensor{}, [&] { return give(at::flip(ctorch::borrow(self), ctorch::ints(dims))); });
}

ct_tensor ct_op_roll(ct_tensor self, ct_ints shifts, ct_ints dims) {
  return guarded<>(ct_tensor{}, [&] { return give(at::roll(ctorch::borrow(self), ctorch::ints(shifts), ctorch::ints(dims))); });
}

ct_tensor ct_op_tril(ct_tensor self, int64_t diagonal) {
  return guarded<>(ct_tensor{}, [&] { return give(at::tril(ctorch::borrow(self), diagonal)); });
}

ct_tensor ct_op_triu(ct_tensor self, int64_t diagonal) {
  return guarded<>(ct_tensor{}, [&] { return give(at::triu(ctorch::borrow(self), diagonal)); });
}

ct_tensor ct_op_as_strided(ct_tensor self, ct_ints size, ct_ints stride, ct_optional_int storage_offset) {
  return guarded<>(ct_tensor{}, [&] { return give(at::as_strided(ctorch::borrow(self), ctorch::ints(size), ctorch::ints(stride), ctorch::optional(storage_offset))); });
}

ct_tensor ct_op_unflatten_int(ct_tensor self, int64_t dim, ct_ints sizes) {
  return guarded<>(ct_tensor{}, [&] { return give(at::unflatten(ctorch::borrow(self), dim, ctorch::ints(sizes))); });
}

ct_tensor ct_op_movedim_int(ct_tensor self, int64_t source, int64_t destination) {
  return guarded<>(ct_tensor{}, [&] { return give(at::movedim(ctorch::borrow(self), source, destination)); });
}

ct_tensor ct_op_repeat_interleave_self_int(ct_tensor self, int64_t repeats, ct_optional_int dim, ct_optional_int output_size) {
  return guarded<>(ct_tensor{}, [&] { return give(at::repeat_interleave(ctorch::borrow(self), repeats, ctorch::optional(dim), ctorch::optional(output_size))); });
}

ct_tensor ct_op_repeat_interleave_self_Tensor(ct_tensor self, ct_tensor repeats, ct_optional_int dim, ct_optional_int output_size) {
  return guarded<>(ct_tensor{}, [&] { return give(at::repeat_interleave(ctorch::borrow(self), ctorch::borrow(repeats), ctorch::optional(dim), ctorch::optional(output_size))); });
}

ct_tensor ct_op_diagonal(ct_tensor self, int64_t offset, int64_t dim1, int64_t dim2) {
  return guarded<>(ct_tensor{}, [&] { return give(at::diagonal(ctorch::borrow(self), offset, dim1, dim2)); });
}

ct_tensor ct_op_constant_pad_nd(ct_tensor self, ct_ints pad, ct_scalar value) {
  return guarded<>(ct_tensor{}, [&] { return give(at::constant_pad_nd(ctorch::borrow(self), ctorch::ints(pad), ctorch::scalar(value))); });
}

ct_tensor ct_op_index_select(ct_tensor self, int64_t dim, ct_tensor index) {
  return guarded<>(ct_tensor{}, [&] { return give(at::index_select(ctorch::borrow(self), dim, ctorch::borrow(index))); });
}

ct_tensor ct_op_gather(ct_tensor self, int64_t dim, ct_tensor index, bool sparse_grad) {
  return guarded<>(ct_tensor{}, [&] { return give(at::gather(ctorch::borrow(self), dim, ctorch::borrow(index), sparse_grad)); });
}

ct_tensor ct_op_scatter_src(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor src) {
  return guarded<>(ct_tensor{}, [&] { return give(at::scatter(ctorch::borrow(self), dim, ctorch::borrow(index), ctorch::borrow(src))); });
}

ct_tensor ct_op_scatter_value(ct_tensor self, int64_t dim, ct_tensor index, ct_scalar value) {
  return guarded<>(ct_tensor{}, [&] { return give(at::scatter(ctorch::borrow(self), dim, ctorch::borrow(index), ctorch::scalar(value))); });
}

void ct_op_scatter__src(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor src) {
  guarded([&] { ctorch::borrow(self).scatter_(dim, ctorch::borrow(index), ctorch::borrow(src)); });
}

void ct_op_scatter__value(ct_tensor self, int64_t dim, ct_tensor index, ct_scalar value) {
  guarded([&] { ctorch::borrow(self).scatter_(dim, ctorch::borrow(index), ctorch::scalar(value)); });
}

ct_tensor ct_op_scatter_add(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor src) {
  return guarded<>(ct_tensor{}, [&] { return give(at::scatter_add(ctorch::borrow(self), dim, ctorch::borrow(index), ctorch::borrow(src))); });
}

void ct_op_scatter_add_(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor src) {
  guarded([&] { ctorch::borrow(self).scatter_add_(dim, ctorch::borrow(index), ctorch::borrow(src)); });
}

ct_tensor ct_op_index_add(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor source, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::index_add(ctorch::borrow(self), dim, ctorch::borrow(index), ctorch::borrow(source), ctorch::scalar(alpha))); });
}

void ct_op_index_add_(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor source, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).index_add_(dim, ctorch::borrow(index), ctorch::borrow(source), ctorch::scalar(alpha)); });
}

void ct_op_index_copy_(ct_tensor self, int64_t dim, ct_tensor index, ct_tensor source) {
  guarded([&] { ctorch::borrow(self).index_copy_(dim, ctorch::borrow(index), ctorch::borrow(source)); });
}

void ct_op_index_fill__int_Scalar(ct_tensor self, int64_t dim, ct_tensor index, ct_scalar value) {
  guarded([&] { ctorch::borrow(self).index_fill_(dim, ctorch::borrow(index), ctorch::scalar(value)); });
}

ct_tensor ct_op_take_along_dim(ct_tensor self, ct_tensor indices, ct_optional_int dim) {
  return guarded<>(ct_tensor{}, [&] { return give(at::take_along_dim(ctorch::borrow(self), ctorch::borrow(indices), ctorch::optional(dim))); });
}

ct_tensor ct_op_embedding(ct_tensor weight, ct_tensor indices, int64_t padding_idx, bool scale_grad_by_freq, bool sparse) {
  return guarded<>(ct_tensor{}, [&] { return give(at::embedding(ctorch::borrow(weight), ctorch::borrow(indices), padding_idx, scale_grad_by_freq, sparse)); });
}

ct_tensor ct_op_embedding_dense_backward(ct_tensor grad_output, ct_tensor indices, int64_t num_weights, int64_t padding_idx, bool scale_grad_by_freq) {
  return guarded<>(ct_tensor{}, [&] { return give(at::embedding_dense_backward(ctorch::borrow(grad_output), ctorch::borrow(indices), num_weights, padding_idx, scale_grad_by_freq)); });
}

ct_tensor ct_op_one_hot(ct_tensor self, int64_t num_classes) {
  return guarded<>(ct_tensor{}, [&] { return give(at::one_hot(ctorch::borrow(self), num_classes)); });
}

ct_tensor ct_op_matmul(ct_tensor self, ct_tensor other) {
  return guarded<>(ct_tensor{}, [&] { return give(at::matmul(ctorch::borrow(self), ctorch::borrow(other))); });
}

ct_tensor ct_op_mm(ct_tensor self, ct_tensor mat2) {
  return guarded<>(ct_tensor{}, [&] { return give(at::mm(ctorch::borrow(self), ctorch::borrow(mat2))); });
}

void ct_op_mm_out(ct_tensor self, ct_tensor mat2, ct_tensor out) {
  guarded([&] { at::mm_out(ctorch::borrow(out), ctorch::borrow(self), ctorch::borrow(mat2)); });
}

void ct_op_mm_dtype_out(ct_tensor self, ct_tensor mat2, int32_t out_dtype, ct_tensor out) {
  guarded([&] { at::mm_out(ctorch::borrow(out), ctorch::borrow(self), ctorch::borrow(mat2), *ctorch::dtype(out_dtype)); });
}

ct_tensor ct_op_bmm(ct_tensor self, ct_tensor mat2) {
  return guarded<>(ct_tensor{}, [&] { return give(at::bmm(ctorch::borrow(self), ctorch::borrow(mat2))); });
}

ct_tensor ct_op_addmm(ct_tensor self, ct_tensor mat1, ct_tensor mat2, ct_scalar beta, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::addmm(ctorch::borrow(self), ctorch::borrow(mat1), ctorch::borrow(mat2), ctorch::scalar(beta), ctorch::scalar(alpha))); });
}

void ct_op_addmm_(ct_tensor self, ct_tensor mat1, ct_tensor mat2, ct_scalar beta, ct_scalar alpha) {
  guarded([&] { ctorch::borrow(self).addmm_(ctorch::borrow(mat1), ctorch::borrow(mat2), ctorch::scalar(beta), ctorch::scalar(alpha)); });
}

void ct_op_addmm_dtype_out(ct_tensor self, ct_tensor mat1, ct_tensor mat2, int32_t out_dtype, ct_scalar beta, ct_scalar alpha, ct_tensor out) {
  guarded([&] { at::addmm_out(ctorch::borrow(out), ctorch::borrow(self), ctorch::borrow(mat1), ctorch::borrow(mat2), *ctorch::dtype(out_dtype), ctorch::scalar(beta), ctorch::scalar(alpha)); });
}

ct_tensor ct_op_baddbmm(ct_tensor self, ct_tensor batch1, ct_tensor batch2, ct_scalar beta, ct_scalar alpha) {
  return guarded<>(ct_tensor{}, [&] { return give(at::baddbmm(ctorch::borrow(self), ctorch::borrow(batch1), ctorch::borrow(batch2), ctorch::scalar(beta), ctorch::scalar(alpha))); });
}

ct_tensor ct_op_linear(ct_tensor input, ct_tensor weight, ct_tensor bias) {
  return guarded<>(ct_tensor{}, [&] { return give(at::linear(ctorch::borrow(input), ctorch::borrow(weight), ctorch::optional(bias))); });
}

ct_tensor ct_op_einsum(const char* equation, ct_tensors tensors, ct_ints path) {
  return guarded<>(ct_tensor{}, [&] { return give(at::einsum(equation, ctorch::tensors(tensors), ctorch::optional_ints(path))); });
}

ct_tensor ct_op_outer(ct_tensor self, ct_tensor vec2) {
  return guarded<>(ct_tensor{}, [&] { return give(at::outer(ctorch::borrow(self), ctorch::borrow(vec2))); });
}

ct_tensor ct_op_linalg_solve_triangular(ct_tensor self, ct_tensor B, bool upper, bool left, bool unitriangular) {
  return guarded<>(ct_tensor{}, [&] { return give(at::linalg_solve_triangular(ctorch::borrow(self), ctorch::borrow(B), upper, left, unitriangular)); });
}

ct_tensor ct_op__grouped_mm(ct_tensor self, ct_tensor mat2, ct_tensor offs, ct_tensor bias, int32_t out_dtype) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_grouped_mm(ctorch::borrow(self), ctorch::borrow(mat2), ctorch::optional(offs), ctorch::optional(bias), ctorch::dtype(out_dtype))); });
}

ct_tensor ct_op__scaled_mm(ct_tensor self, ct_tensor mat2, ct_tensor scale_a, ct_tensor scale_b, ct_tensor bias, ct_tensor scale_result, int32_t out_dtype, bool use_fast_accum) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_scaled_mm(ctorch::borrow(self), ctorch::borrow(mat2), ctorch::borrow(scale_a), ctorch::borrow(scale_b), ctorch::optional(bias), ctorch::optional(scale_result), ctorch::dtype(out_dtype), use_fast_accum)); });
}

ct_tensor ct_op__scaled_mm_v2(ct_tensor self, ct_tensor mat2, ct_tensors scale_a, ct_ints recipe_a, ct_ints swizzle_a, ct_tensors scale_b, ct_ints recipe_b, ct_ints swizzle_b, ct_tensor bias, int32_t out_dtype, ct_ints contraction_dim, bool use_fast_accum) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_scaled_mm_v2(ctorch::borrow(self), ctorch::borrow(mat2), ctorch::tensors(scale_a), ctorch::ints(recipe_a), ctorch::ints(swizzle_a), ctorch::tensors(scale_b), ctorch::ints(recipe_b), ctorch::ints(swizzle_b), ctorch::optional(bias), ctorch::dtype(out_dtype), ctorch::ints(contraction_dim), use_fast_accum)); });
}

ct_tensor ct_op__scaled_grouped_mm(ct_tensor self, ct_tensor mat2, ct_tensor scale_a, ct_tensor scale_b, ct_tensor offs, ct_tensor bias, ct_tensor scale_result, int32_t out_dtype, bool use_fast_accum) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_scaled_grouped_mm(ctorch::borrow(self), ctorch::borrow(mat2), ctorch::borrow(scale_a), ctorch::borrow(scale_b), ctorch::optional(offs), ctorch::optional(bias), ctorch::optional(scale_result), ctorch::dtype(out_dtype), use_fast_accum)); });
}

ct_tensor ct_op_rms_norm(ct_tensor input, ct_ints normalized_shape, ct_tensor weight, ct_optional_double eps) {
  return guarded<>(ct_tensor{}, [&] { return give(at::rms_norm(ctorch::borrow(input), ctorch::ints(normalized_shape), ctorch::optional(weight), ctorch::optional(eps))); });
}

void ct_op__fused_rms_norm(ct_tensor input, ct_ints normalized_shape, ct_tensor weight, ct_optional_double eps, ct_tensor* results) {
  guarded([&] { auto all = at::_fused_rms_norm(ctorch::borrow(input), ctorch::ints(normalized_shape), ctorch::optional(weight), ctorch::optional(eps)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

void ct_op__fused_rms_norm_backward(ct_tensor grad_out, ct_tensor input, ct_ints normalized_shape, ct_tensor rstd, ct_tensor weight, ct_ints output_mask, ct_tensor* results) {
  guarded([&] { auto all = at::_fused_rms_norm_backward(ctorch::borrow(grad_out), ctorch::borrow(input), ctorch::ints(normalized_shape), ctorch::borrow(rstd), ctorch::optional(weight), ctorch::bools<2>(output_mask)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

ct_tensor ct_op_layer_norm(ct_tensor input, ct_ints normalized_shape, ct_tensor weight, ct_tensor bias, double eps, bool cudnn_enable) {
  return guarded<>(ct_tensor{}, [&] { return give(at::layer_norm(ctorch::borrow(input), ctorch::ints(normalized_shape), ctorch::optional(weight), ctorch::optional(bias), eps, cudnn_enable)); });
}

ct_tensor ct_op_dropout(ct_tensor input, double p, bool train) {
  return guarded<>(ct_tensor{}, [&] { return give(at::dropout(ctorch::borrow(input), p, train)); });
}

ct_tensor ct_op_scaled_dot_product_attention(ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor attn_mask, double dropout_p, bool is_causal, ct_optional_double scale, bool enable_gqa) {
  return guarded<>(ct_tensor{}, [&] { return give(at::scaled_dot_product_attention(ctorch::borrow(query), ctorch::borrow(key), ctorch::borrow(value), ctorch::optional(attn_mask), dropout_p, is_causal, ctorch::optional(scale), enable_gqa)); });
}

ct_tensor ct_op__upsample_bicubic2d_aa(ct_tensor self, ct_ints output_size, bool align_corners, ct_optional_double scales_h, ct_optional_double scales_w) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_upsample_bicubic2d_aa(ctorch::borrow(self), ctorch::ints(output_size), align_corners, ctorch::optional(scales_h), ctorch::optional(scales_w))); });
}

void ct_op__scaled_dot_product_flash_attention_for_cpu(ct_tensor query, ct_tensor key, ct_tensor value, double dropout_p, bool is_causal, ct_tensor attn_mask, ct_optional_double scale, ct_tensor* results) {
  guarded([&] { auto all = at::_scaled_dot_product_flash_attention_for_cpu(ctorch::borrow(query), ctorch::borrow(key), ctorch::borrow(value), dropout_p, is_causal, ctorch::optional(attn_mask), ctorch::optional(scale)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); });
}

void ct_op__scaled_dot_product_flash_attention_for_cpu_backward(ct_tensor grad_out, ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor out, ct_tensor logsumexp, double dropout_p, bool is_causal, ct_tensor attn_mask, ct_optional_double scale, ct_tensor* results) {
  guarded([&] { auto all = at::_scaled_dot_product_flash_attention_for_cpu_backward(ctorch::borrow(grad_out), ctorch::borrow(query), ctorch::borrow(key), ctorch::borrow(value), ctorch::borrow(out), ctorch::borrow(logsumexp), dropout_p, is_causal, ctorch::optional(attn_mask), ctorch::optional(scale)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); results[2] = give_optional(std::move(std::get<2>(all))); });
}

void ct_op__flash_attention_forward(ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor cum_seq_q, ct_tensor cum_seq_k, int64_t max_q, int64_t max_k, double dropout_p, bool is_causal, bool return_debug_mask, ct_optional_double scale, ct_optional_int window_size_left, ct_optional_int window_size_right, ct_tensor seqused_k, ct_tensor alibi_slopes, ct_tensor* results) {
  guarded([&] { auto all = at::_flash_attention_forward(ctorch::borrow(query), ctorch::borrow(key), ctorch::borrow(value), ctorch::optional(cum_seq_q), ctorch::optional(cum_seq_k), max_q, max_k, dropout_p, is_causal, return_debug_mask, ctorch::optional(scale), ctorch::optional(window_size_left), ctorch::optional(window_size_right), ctorch::optional(seqused_k), ctorch::optional(alibi_slopes)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); results[2] = give_optional(std::move(std::get<2>(all))); results[3] = give_optional(std::move(std::get<3>(all))); results[4] = give_optional(std::move(std::get<4>(all))); });
}

void ct_op__flash_attention_backward(ct_tensor grad_out, ct_tensor query, ct_tensor key, ct_tensor value, ct_tensor out, ct_tensor logsumexp, ct_tensor cum_seq_q, ct_tensor cum_seq_k, int64_t max_q, int64_t max_k, double dropout_p, bool is_causal, ct_tensor rng_state, ct_tensor unused, ct_optional_double scale, ct_optional_int window_size_left, ct_optional_int window_size_right, ct_tensor* results) {
  guarded([&] { auto all = at::_flash_attention_backward(ctorch::borrow(grad_out), ctorch::borrow(query), ctorch::borrow(key), ctorch::borrow(value), ctorch::borrow(out), ctorch::borrow(logsumexp), ctorch::borrow(cum_seq_q), ctorch::borrow(cum_seq_k), max_q, max_k, dropout_p, is_causal, ctorch::borrow(rng_state), ctorch::borrow(unused), ctorch::optional(scale), ctorch::optional(window_size_left), ctorch::optional(window_size_right)); results[0] = give_optional(std::move(std::get<0>(all))); results[1] = give_optional(std::move(std::get<1>(all))); results[2] = give_optional(std::move(std::get<2>(all))); });
}

ct_tensor ct_op_nll_loss(ct_tensor self, ct_tensor target, ct_tensor weight, int64_t reduction, int64_t ignore_index) {
  return guarded<>(ct_tensor{}, [&] { return give(at::nll_loss(ctorch::borrow(self), ctorch::borrow(target), ctorch::optional(weight), reduction, ignore_index)); });
}

ct_tensor ct_op_cross_entropy_loss(ct_tensor self, ct_tensor target, ct_tensor weight, int64_t reduction, int64_t ignore_index, double label_smoothing) {
  return guarded<>(ct_tensor{}, [&] { return give(at::cross_entropy_loss(ctorch::borrow(self), ctorch::borrow(target), ctorch::optional(weight), reduction, ignore_index, label_smoothing)); });
}

void ct_op_copy_(ct_tensor self, ct_tensor src, bool non_blocking) {
  guarded([&] { ctorch::borrow(self).copy_(ctorch::borrow(src), non_blocking); });
}

void ct_op_fill__Scalar(ct_tensor self, ct_scalar value) {
  guarded([&] { at::fill_(ctorch::borrow(self), ctorch::scalar(value)); });
}

void ct_op_fill__Tensor(ct_tensor self, ct_tensor value) {
  guarded([&] { at::fill_(ctorch::borrow(self), ctorch::borrow(value)); });
}

void ct_op_zero_(ct_tensor self) {
  guarded([&] { at::zero_(ctorch::borrow(self)); });
}

void ct_op_uniform_(ct_tensor self, double from, double to, ct_generator generator) {
  guarded([&] { ctorch::borrow(self).uniform_(from, to, ctorch::optional(generator)); });
}

void ct_op_normal_(ct_tensor self, double mean, double std, ct_generator generator) {
  guarded([&] { ctorch::borrow(self).normal_(mean, std, ctorch::optional(generator)); });
}

void ct_op_exponential_(ct_tensor self, double lambd, ct_generator generator) {
  guarded([&] { ctorch::borrow(self).exponential_(lambd, ctorch::optional(generator)); });
}

void ct_op_bernoulli__float(ct_tensor self, double p, ct_generator generator) {
  guarded([&] { ctorch::borrow(self).bernoulli_(p, ctorch::optional(generator)); });
}

void ct_op__fused_adamw_(ct_tensors self, ct_tensors grads, ct_tensors exp_avgs, ct_tensors exp_avg_sqs, ct_tensors max_exp_avg_sqs, ct_tensors state_steps, double lr, double beta1, double beta2, double weight_decay, double eps, bool amsgrad, bool maximize, ct_tensor grad_scale, ct_tensor found_inf) {
  guarded([&] { at::_fused_adamw_(ctorch::tensors(self), ctorch::tensors(grads), ctorch::tensors(exp_avgs), ctorch::tensors(exp_avg_sqs), ctorch::tensors(max_exp_avg_sqs), ctorch::tensors(state_steps), lr, beta1, beta2, weight_decay, eps, amsgrad, maximize, ctorch::optional(grad_scale), ctorch::optional(found_inf)); });
}

void ct_op__fused_adam_(ct_tensors self, ct_tensors grads, ct_tensors exp_avgs, ct_tensors exp_avg_sqs, ct_tensors max_exp_avg_sqs, ct_tensors state_steps, double lr, double beta1, double beta2, double weight_decay, double eps, bool amsgrad, bool maximize, ct_tensor grad_scale, ct_tensor found_inf) {
  guarded([&] { at::_fused_adam_(ctorch::tensors(self), ctorch::tensors(grads), ctorch::tensors(exp_avgs), ctorch::tensors(exp_avg_sqs), ctorch::tensors(max_exp_avg_sqs), ctorch::tensors(state_steps), lr, beta1, beta2, weight_decay, eps, amsgrad, maximize, ctorch::optional(grad_scale), ctorch::optional(found_inf)); });
}

void ct_op__fused_sgd_(ct_tensors self, ct_tensors grads, ct_tensors momentum_buffer_list, double weight_decay, double momentum, double lr, double dampening, bool nesterov, bool maximize, bool is_first_step, ct_tensor grad_scale, ct_tensor found_inf) {
  guarded([&] { at::_fused_sgd_(ctorch::tensors(self), ctorch::tensors(grads), ctorch::tensors(momentum_buffer_list), weight_decay, momentum, lr, dampening, nesterov, maximize, is_first_step, ctorch::optional(grad_scale), ctorch::optional(found_inf)); });
}

void ct_op__foreach_add__Scalar(ct_tensors self, ct_scalar scalar) {
  guarded([&] { at::_foreach_add_(ctorch::tensors(self), ctorch::scalar(scalar)); });
}

void ct_op__foreach_add__List(ct_tensors self, ct_tensors other, ct_scalar alpha) {
  guarded([&] { at::_foreach_add_(ctorch::tensors(self), ctorch::tensors(other), ctorch::scalar(alpha)); });
}

void ct_op__foreach_add__Tensor(ct_tensors self, ct_tensor other, ct_scalar alpha) {
  guarded([&] { at::_foreach_add_(ctorch::tensors(self), ctorch::borrow(other), ctorch::scalar(alpha)); });
}

ct_tensor_array ct_op__foreach_add_List(ct_tensors self, ct_tensors other, ct_scalar alpha) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::_foreach_add(ctorch::tensors(self), ctorch::tensors(other), ctorch::scalar(alpha))); });
}

void ct_op__foreach_sub__List(ct_tensors self, ct_tensors other, ct_scalar alpha) {
  guarded([&] { at::_foreach_sub_(ctorch::tensors(self), ctorch::tensors(other), ctorch::scalar(alpha)); });
}

void ct_op__foreach_mul__Scalar(ct_tensors self, ct_scalar scalar) {
  guarded([&] { at::_foreach_mul_(ctorch::tensors(self), ctorch::scalar(scalar)); });
}

void ct_op__foreach_mul__List(ct_tensors self, ct_tensors other) {
  guarded([&] { at::_foreach_mul_(ctorch::tensors(self), ctorch::tensors(other)); });
}

void ct_op__foreach_mul__Tensor(ct_tensors self, ct_tensor other) {
  guarded([&] { at::_foreach_mul_(ctorch::tensors(self), ctorch::borrow(other)); });
}

ct_tensor_array ct_op__foreach_mul_Scalar(ct_tensors self, ct_scalar scalar) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::_foreach_mul(ctorch::tensors(self), ctorch::scalar(scalar))); });
}

void ct_op__foreach_div__Scalar(ct_tensors self, ct_scalar scalar) {
  guarded([&] { at::_foreach_div_(ctorch::tensors(self), ctorch::scalar(scalar)); });
}

void ct_op__foreach_div__List(ct_tensors self, ct_tensors other) {
  guarded([&] { at::_foreach_div_(ctorch::tensors(self), ctorch::tensors(other)); });
}

void ct_op__foreach_lerp__Scalar(ct_tensors self, ct_tensors tensors1, ct_scalar weight) {
  guarded([&] { at::_foreach_lerp_(ctorch::tensors(self), ctorch::tensors(tensors1), ctorch::scalar(weight)); });
}

void ct_op__foreach_addcmul__Scalar(ct_tensors self, ct_tensors tensor1, ct_tensors tensor2, ct_scalar value) {
  guarded([&] { at::_foreach_addcmul_(ctorch::tensors(self), ctorch::tensors(tensor1), ctorch::tensors(tensor2), ctorch::scalar(value)); });
}

void ct_op__foreach_addcdiv__Scalar(ct_tensors self, ct_tensors tensor1, ct_tensors tensor2, ct_scalar value) {
  guarded([&] { at::_foreach_addcdiv_(ctorch::tensors(self), ctorch::tensors(tensor1), ctorch::tensors(tensor2), ctorch::scalar(value)); });
}

ct_tensor_array ct_op__foreach_sqrt(ct_tensors self) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::_foreach_sqrt(ctorch::tensors(self))); });
}

void ct_op__foreach_sqrt_(ct_tensors self) {
  guarded([&] { at::_foreach_sqrt_(ctorch::tensors(self)); });
}

void ct_op__foreach_neg_(ct_tensors self) {
  guarded([&] { at::_foreach_neg_(ctorch::tensors(self)); });
}

ct_tensor_array ct_op__foreach_abs(ct_tensors self) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::_foreach_abs(ctorch::tensors(self))); });
}

void ct_op__foreach_maximum__List(ct_tensors self, ct_tensors other) {
  guarded([&] { at::_foreach_maximum_(ctorch::tensors(self), ctorch::tensors(other)); });
}

void ct_op__foreach_clamp_min__Scalar(ct_tensors self, ct_scalar scalar) {
  guarded([&] { at::_foreach_clamp_min_(ctorch::tensors(self), ctorch::scalar(scalar)); });
}

ct_tensor_array ct_op__foreach_norm_Scalar(ct_tensors self, ct_scalar ord, int32_t dtype) {
  return guarded<>(ct_tensor_array{}, [&] { return give_array(at::_foreach_norm(ctorch::tensors(self), ctorch::scalar(ord), ctorch::dtype(dtype))); });
}

void ct_op__foreach_zero_(ct_tensors self) {
  guarded([&] { at::_foreach_zero_(ctorch::tensors(self)); });
}

void ct_op__foreach_copy_(ct_tensors self, ct_tensors src, bool non_blocking) {
  guarded([&] { at::_foreach_copy_(ctorch::tensors(self), ctorch::tensors(src), non_blocking); });
}

void ct_op__amp_foreach_non_finite_check_and_unscale_(ct_tensors self, ct_tensor found_inf, ct_tensor inv_scale) {
  guarded([&] { at::_amp_foreach_non_finite_check_and_unscale_(ctorch::tensors(self), ctorch::borrow(found_inf), ctorch::borrow(inv_scale)); });
}

ct_tensor ct_op__chunk_cat(ct_tensors tensors, int64_t dim, int64_t num_chunks) {
  return guarded<>(ct_tensor{}, [&] { return give(at::_chunk_cat(ctorch::tensors(tensors), dim, num_chunks)); });
}
