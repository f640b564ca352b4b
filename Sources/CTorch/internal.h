// How handles map to ATen, and how exceptions become messages. Shared by the .cpp files of this folder only.
#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "include/ctorch.h"

namespace ctorch {

/// Keeps `message` for this thread unless an earlier error is still waiting to be taken.
void set_error(const char* message) noexcept;

/// The undefined tensor of ATen is a singleton, not NULL. Here it is what a failed operation gave; ATen does not expect
/// it everywhere, so it is refused before ATen sees it.
inline bool is_undefined(ct_tensor handle) {
  return reinterpret_cast<at::TensorImpl*>(handle) == at::UndefinedTensorImpl::singleton();
}
[[noreturn]] void refuse_undefined();
inline void require_defined(ct_tensor handle) {
  if (is_undefined(handle)) [[unlikely]] refuse_undefined();
}

/// A handle is the pointer that an at::Tensor holds, so a borrowed handle can be read as a Tensor in place.
static_assert(sizeof(at::Tensor) == sizeof(void*));
inline at::Tensor& borrow(ct_tensor& handle) {
  require_defined(handle);
  return *reinterpret_cast<at::Tensor*>(&handle);
}
inline const at::Tensor& borrow(const ct_tensor& handle) { return borrow(const_cast<ct_tensor&>(handle)); }

/// NULL stands for ATen's undefined tensor.
inline const at::Tensor& borrow_optional(const ct_tensor& handle) {
  static const at::Tensor undefined;
  return handle ? borrow(handle) : undefined;
}

inline std::optional<at::Tensor> optional(const ct_tensor& handle) {
  if (!handle) return std::nullopt;
  return borrow(handle);
}

inline ct_tensor give(at::Tensor tensor) {
  return reinterpret_cast<ct_tensor>(tensor.unsafeReleaseTensorImpl());
}

inline ct_tensor give_optional(at::Tensor tensor) { return tensor.defined() ? give(std::move(tensor)) : nullptr; }

inline at::IntArrayRef ints(ct_ints list) { return {list.data, list.count}; }

inline at::OptionalIntArrayRef optional_ints(ct_ints list) {
  if (!list.data) return std::nullopt;
  return ints(list);
}

inline at::TensorList tensors(ct_tensors list) {
  for (size_t i = 0; i < list.count; ++i) require_defined(list.data[i]);
  return {reinterpret_cast<const at::Tensor*>(list.data), list.count};
}

inline at::Scalar scalar(ct_scalar value) {
  return value.is_integer ? at::Scalar(value.integer) : at::Scalar(value.floating);
}

inline std::optional<at::Scalar> optional(ct_optional_scalar value) {
  if (!value.exists) return std::nullopt;
  return scalar(value.value);
}

inline std::optional<int64_t> optional(ct_optional_int value) {
  if (!value.exists) return std::nullopt;
  return value.value;
}

inline std::optional<bool> optional_bool(ct_optional_int value) {
  if (!value.exists) return std::nullopt;
  return value.value != 0;
}

inline std::optional<double> optional(ct_optional_double value) {
  if (!value.exists) return std::nullopt;
  return value.value;
}

inline std::optional<std::string_view> optional_text(const char* text) {
  if (!text) return std::nullopt;
  return text;
}

template <size_t N>
std::array<bool, N> bools(ct_ints list) {
  std::array<bool, N> result{};
  for (size_t i = 0; i < std::min(N, list.count); ++i) result[i] = list.data[i] != 0;
  return result;
}

inline std::optional<at::ScalarType> dtype(int32_t code) {
  if (code < 0) return std::nullopt;
  return static_cast<at::ScalarType>(code);
}

ct_tensor_array give_array(std::vector<at::Tensor> list);

inline at::Generator borrow(ct_generator generator) {
  return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy(
      reinterpret_cast<c10::GeneratorImpl*>(generator)));
}

inline std::optional<at::Generator> optional(ct_generator generator) {
  if (!generator) return std::nullopt;
  return borrow(generator);
}

/// Runs `body`; an exception becomes this thread's error and `failure` the result.
template <typename F, typename R>
R guarded(R failure, F&& body) noexcept {
  try {
    return body();
  } catch (const c10::Error& error) {
    set_error(error.what_without_backtrace());
  } catch (const std::exception& error) {
    set_error(error.what());
  } catch (...) {
    set_error("an unknown C++ exception");
  }
  return failure;
}

template <typename F>
void guarded(F&& body) noexcept {
  guarded(false, [&] {
    body();
    return true;
  });
}

}  // namespace ctorch
