// Shapes of results, for the operators here that libtorch does not know on the meta device.
#include <ATen/ATen.h>
#include <ATen/ExpandUtils.h>
#include <ATen/WrapDimUtils.h>
#include <torch/library.h>

namespace {

using at::Tensor;
using Optional = std::optional<Tensor>;

Tensor index_select(const Tensor& self, int64_t dim, const Tensor& index) {
  auto sizes = self.sizes().vec();
  sizes[at::maybe_wrap_dim(dim, self.dim())] = index.numel();
  return at::empty(sizes, self.options());
}

Tensor flip(const Tensor& self, at::IntArrayRef) { return at::empty(self.sizes(), self.options()); }

Tensor solve_triangular(const Tensor& self, const Tensor& other, bool, bool, bool) {
  auto sizes = at::infer_size(self.sizes().slice(0, self.dim() - 2), other.sizes().slice(0, other.dim() - 2));
  sizes.push_back(other.size(-2));
  sizes.push_back(other.size(-1));
  return at::empty(sizes, other.options());
}

Tensor logical(const Tensor& self, const Tensor& other) {
  return at::empty(at::infer_size(self.sizes(), other.sizes()), self.options().dtype(at::kBool));
}

Tensor& logical_out(const Tensor& self, const Tensor& other, Tensor& out) {
  out.resize_(at::infer_size(self.sizes(), other.sizes()));
  return out;
}

Tensor floor_divide(const Tensor& self, const Tensor& other) {
  return at::empty(at::infer_size(self.sizes(), other.sizes()), self.options());
}

Tensor choice(const Tensor& condition, const Tensor& self, const Tensor& other) {
  auto sizes = at::infer_size(at::infer_size(condition.sizes(), self.sizes()), other.sizes());
  return at::empty(sizes, condition.options().dtype(at::result_type(self, other)));
}

Tensor& choice_out(const Tensor& condition, const Tensor& self, const Tensor& other, Tensor& out) {
  out.resize_(choice(condition, self, other).sizes());
  return out;
}

Tensor& like(const Tensor& self, Tensor& out) {
  out.resize_(self.sizes());
  return out;
}

Tensor embedding_dense_backward(const Tensor& gradient, const Tensor&, int64_t rows, int64_t, bool) {
  return at::empty({rows, gradient.size(-1)}, gradient.options());
}

Tensor grouped_mm(const Tensor& self, const Tensor& mat2, const Optional& offsets, const Optional&,
                  std::optional<at::ScalarType> dtype) {
  auto options = self.options().dtype(dtype.value_or(self.scalar_type()));
  if (self.dim() == 2 && mat2.dim() == 2) {
    return at::empty({offsets->size(0), self.size(0), mat2.size(1)}, options);
  }
  if (self.dim() == 3 && mat2.dim() == 3) return at::empty({self.size(0), self.size(1), mat2.size(2)}, options);
  return at::empty({self.size(-2), mat2.size(-1)}, options);
}

std::tuple<Tensor, Tensor> rms_norm(const Tensor& input, at::IntArrayRef shape, const Optional&,
                                    std::optional<double>) {
  auto sizes = input.sizes().vec();
  for (size_t i = sizes.size() - shape.size(); i < sizes.size(); ++i) sizes[i] = 1;
  return {at::empty(input.sizes(), input.options()), at::empty(sizes, input.options().dtype(at::kFloat))};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor&, const Tensor& input, at::IntArrayRef, const Tensor&,
                                             const Optional& weight, std::array<bool, 2> wanted) {
  return {wanted[0] ? at::empty(input.sizes(), input.options()) : Tensor(),
          wanted[1] && weight ? at::empty(weight->sizes(), weight->options()) : Tensor()};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm(const Tensor& input, at::IntArrayRef shape, const Optional&,
                                              const Optional&, double) {
  auto sizes = input.sizes().vec();
  for (size_t i = sizes.size() - shape.size(); i < sizes.size(); ++i) sizes[i] = 1;
  auto fp32 = input.options().dtype(at::kFloat);
  return {at::empty(input.sizes(), input.options()), at::empty(sizes, fp32), at::empty(sizes, fp32)};
}

std::tuple<Tensor, Tensor, Tensor> layer_norm_backward(const Tensor&, const Tensor& input, at::IntArrayRef, const Tensor&,
                                                       const Tensor&, const Optional& weight, const Optional& bias,
                                                       std::array<bool, 3> wanted) {
  return {wanted[0] ? at::empty(input.sizes(), input.options()) : Tensor(),
          wanted[1] && weight ? at::empty(weight->sizes(), weight->options()) : Tensor(),
          wanted[2] && bias ? at::empty(bias->sizes(), bias->options()) : Tensor()};
}

/// How many there are depends on numbers that the meta device does not have: who asks has to say.
Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size) {
  TORCH_CHECK(output_size, "repeat_interleave on the meta device needs output_size");
  return at::empty({*output_size}, repeats.options());
}

using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

Five flash_forward(const Tensor& query, const Tensor&, const Tensor&, const Optional&, const Optional&, int64_t,
                   int64_t, double, bool, bool, std::optional<double>, std::optional<int64_t>, std::optional<int64_t>,
                   const Optional&, const Optional&) {
  auto fp32 = query.options().dtype(at::kFloat);
  return {at::empty(query.sizes(), query.options()), at::empty({query.size(1), query.size(0)}, fp32),
          at::empty({2}, fp32), at::empty({}, fp32), at::empty({0}, query.options())};
}

Three flash_backward(const Tensor&, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor&,
                     const Tensor&, const Tensor&, const Tensor&, int64_t, int64_t, double, bool, const Tensor&,
                     const Tensor&, std::optional<double>, std::optional<int64_t>, std::optional<int64_t>) {
  return {at::empty(query.sizes(), query.options()), at::empty(key.sizes(), key.options()),
          at::empty(value.sizes(), value.options())};
}

/// Heads stand beside each other, as the kernel makes them.
Tensor rows_first(const Tensor& like) {
  return at::empty({like.size(0), like.size(2), like.size(1), like.size(3)}, like.options()).transpose(1, 2);
}

std::tuple<Tensor, Tensor> cpu_attention(const Tensor& query, const Tensor&, const Tensor&, double, bool,
                                         const Optional&, std::optional<double>) {
  auto lse = at::empty({query.size(0), query.size(2), query.size(1)}, query.options().dtype(at::kFloat));
  return {rows_first(query), lse.transpose(1, 2)};
}

Three cpu_attention_backward(const Tensor&, const Tensor& query, const Tensor& key, const Tensor& value, const Tensor&,
                             const Tensor&, double, bool, const Optional&, std::optional<double>) {
  return {rows_first(query), rows_first(key), rows_first(value)};
}

}  // namespace

TORCH_LIBRARY_IMPL(aten, Meta, library) {
  library.impl("index_select", index_select);
  library.impl("flip", flip);
  library.impl("linalg_solve_triangular", solve_triangular);
  library.impl("logical_and", logical);
  library.impl("logical_or", logical);
  library.impl("logical_and.out", logical_out);
  library.impl("logical_or.out", logical_out);
  library.impl("floor_divide", floor_divide);
  library.impl("where.self", choice);
  library.impl("where.self_out", choice_out);
  library.impl("abs.out", like);
  library.impl("embedding_dense_backward", embedding_dense_backward);
  library.impl("_grouped_mm", grouped_mm);
  library.impl("_fused_rms_norm", rms_norm);
  library.impl("_fused_rms_norm_backward", rms_norm_backward);
  library.impl("native_layer_norm", layer_norm);
  library.impl("native_layer_norm_backward", layer_norm_backward);
  library.impl("repeat_interleave.Tensor", repeat_interleave);
  library.impl("_flash_attention_forward", flash_forward);
  library.impl("_flash_attention_backward", flash_backward);
  library.impl("_scaled_dot_product_flash_attention_for_cpu", cpu_attention);
  library.impl("_scaled_dot_product_flash_attention_for_cpu_backward", cpu_attention_backward);
}
