// Weights in oneDNN's own layout: a product that finds a weight in it does not bring it there first, which is most of the
// work where few rows are multiplied.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "internal.h"

using namespace ctorch;

namespace {

using Pack = at::Tensor(const at::Tensor& weight, std::optional<int64_t> rows);
using Multiply = at::Tensor(const at::Tensor& input, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                            std::string_view after, c10::List<std::optional<at::Scalar>> arguments,
                            std::optional<std::string_view> algorithm);

/// An operator of libtorch that has no function; nothing where this libtorch was built without it.
template <typename F>
std::optional<c10::TypedOperatorHandle<F>> find_operator(const char* name) {
  auto found = c10::Dispatcher::singleton().findSchema({name, ""});
  if (!found) return std::nullopt;
  return found->typed<F>();
}

const auto& pack_operator() {
  static const auto found = find_operator<Pack>("mkldnn::_reorder_linear_weight");
  return found;
}

const auto& multiply_operator() {
  static const auto found = find_operator<Multiply>("mkldnn::_linear_pointwise");
  return found;
}

/// Where it was measured to pay: x86-64 and float32. libtorch packs bfloat16 on some CPUs only.
bool can_pack(const at::Tensor& weight) {
#ifdef __x86_64__
  return weight.is_cpu() && weight.layout() == at::kStrided && weight.dim() == 2 && weight.numel() > 0 &&
         weight.scalar_type() == at::kFloat && at::hasMKLDNN() && at::globalContext().userEnabledMkldnn() &&
         pack_operator() && multiply_operator();
#else
  return false;
#endif
}

}  // namespace

ct_tensor ct_packed(ct_tensor weight) {
  return guarded<>(ct_tensor{}, [&]() -> ct_tensor {
    const at::Tensor& matrix = borrow(weight);
    if (!can_pack(matrix)) return nullptr;
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    // One packing serves products of any number of rows.
    return give(pack_operator()->call(matrix.contiguous(), std::nullopt));
  });
}

ct_tensor ct_packed_linear(ct_tensor input, ct_tensor packed, ct_tensor bias) {
  return guarded<>(ct_tensor{}, [&] {
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    return give(multiply_operator()->call(
        borrow(input), borrow(packed), optional(bias), "none", c10::List<std::optional<at::Scalar>>(), ""));
  });
}

int64_t ct_change_count(ct_tensor tensor) {
  return guarded<>(int64_t{}, [&] { return static_cast<int64_t>(borrow(tensor)._version()); });
}
