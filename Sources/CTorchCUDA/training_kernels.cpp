// Kernels of training: gradients of those in kernels.cpp, the loss over the vocabulary, the optimizer.
#include "kernel_library.h"

static const char* const layer_gradients =
#include "kernels/layer_gradients.cuh"
    ;
static const char* const vocabulary =
#include "kernels/vocabulary.cuh"
    ;
static const char* const optimizer =
#include "kernels/optimizer.cuh"
    ;

namespace ctorch {

ct_tensor silu_multiply_gradient(ct_tensor both_handle, ct_tensor gradient_handle, ct_tensor* product) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &both = borrow(both_handle), &gradient = borrow(gradient_handle);
    c10::cuda::CUDAGuard guard(both.device());
    auto result = at::empty_like(both), again = product ? at::empty_like(gradient) : at::Tensor();
    long count = gradient.numel() / 8;
    TORCH_CHECK(count < 1ll << 31, "too many numbers for a kernel: ", gradient.numel());
    launch(kernel(layer_gradients, "silu_multiply_gradient", {}), dim3(std::min<long>((count + 255) / 256, busy_blocks(10))),
           dim3(256), 0, bits(both), bits(gradient), bits(result), optional_bits(again), (unsigned)(both.size(1) / 16),
           (unsigned)count);
    if (product) *product = give(again);
    return give(result);
  });
}

void add_norm_gradient(ct_tensor sum_handle, ct_tensor weight, double epsilon, ct_tensor by_normed, ct_tensor by_sum,
                       ct_tensor* by_input, ct_tensor* by_weight, ct_tensor* normed) {
  guarded([&] {
    const auto& sum = borrow(sum_handle);
    c10::cuda::CUDAGuard guard(sum.device());
    int rows = sum.size(0), width = sum.size(1), pieces = (width + 8191) / 8192;
    int threads = ((width + 8 * pieces - 1) / (8 * pieces) + 31) / 32 * 32;
    // As many as run at once.
    int blocks = std::min(rows, busy_blocks(std::max(1, 1024 / threads)));
    auto result = at::empty_like(sum), again = normed ? at::empty_like(sum) : at::Tensor();
    auto parts = at::empty({blocks, width}, sum.options().dtype(at::kFloat));
    launch(kernel(layer_gradients, "add_norm_gradient", {"-DPIECES=" + std::to_string(pieces)}), dim3(blocks), dim3(threads), 0,
           bits(sum), bits(borrow(weight)), bits(borrow(by_normed)), optional_bits(borrow_optional(by_sum)), (float)epsilon,
           bits(result), optional_bits(again), parts.data_ptr<float>(), width, rows);
    *by_input = give(result);
    *by_weight = give(parts.sum(0).to(borrow(weight).scalar_type()));
    if (normed) *normed = give(again);
  });
}

ct_tensor norm_rotate_gradient(ct_tensor query_handle, ct_tensor key_handle, ct_tensor query_weight, ct_tensor key_weight,
                               double epsilon, ct_tensor cosine_handle, ct_tensor sine, ct_tensor by_turned_query,
                               ct_tensor by_turned_key, ct_tensor by_value, ct_tensor new_query, ct_tensor new_key,
                               ct_tensor new_value) {
  return guarded<>(ct_tensor{}, [&]() -> ct_tensor {
    const auto &query = borrow(query_handle), &key = borrow(key_handle), &cosine = borrow(cosine_handle);
    c10::cuda::CUDAGuard guard(query.device());
    int tokens = query.size(0), dimension = query.size(2), blocks = std::min(tokens, busy_blocks(3));
    const auto &weight = borrow_optional(query_weight), &other = borrow_optional(key_weight);
    bool has_norms = weight.defined() || other.defined();
    auto parts = has_norms ? at::empty({blocks, 2, dimension}, query.options().dtype(at::kFloat)) : at::Tensor();
    launch(kernel(layer_gradients, "norm_rotate_gradient", {head(dimension)}), dim3(blocks), dim3(256), 0, bits(query), bits(key),
           (long)query.stride(0), (int)query.size(1), (int)key.size(1), optional_bits(weight), optional_bits(other),
           (float)epsilon, bits(cosine), bits(borrow(sine)), (int)cosine.size(-1), bits(borrow(by_turned_query)),
           bits(borrow(by_turned_key)), bits(borrow(by_value)), bits(borrow(new_query)), bits(borrow(new_key)),
           bits(borrow(new_value)), has_norms ? parts.data_ptr<float>() : nullptr, tokens);
    return has_norms ? give(parts.sum(0).to(query.scalar_type())) : nullptr;
  });
}

ct_tensor row_statistics(ct_tensor logits_handle, ct_tensor targets, double temperature, ct_tensor temperatures_handle) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &logits = borrow(logits_handle), &temperatures = borrow_optional(temperatures_handle);
    c10::cuda::CUDAGuard guard(logits.device());
    int rows = logits.size(0);
    auto results = at::empty({4, rows}, logits.options().dtype(at::kFloat));
    auto* name = logits.scalar_type() == at::kFloat ? "row_statistics_of_floats" : "row_statistics";
    if (rows > 0)
      launch(kernel(vocabulary, name, {}), dim3(rows), dim3(512), 0, logits.data_ptr(), (int)logits.size(1),
             static_cast<int64_t*>(borrow(targets).data_ptr()), (float)temperature,
             temperatures.defined() ? temperatures.data_ptr<float>() : nullptr, results.data_ptr<float>(), rows);
    return give(results);
  });
}

void logits_gradient(ct_tensor logits_handle, ct_tensor targets, double temperature, ct_tensor log_sums, ct_tensor entropies,
                     ct_tensor by_log_prob, ct_tensor by_entropy_handle) {
  guarded([&] {
    const auto &logits = borrow(logits_handle), &by_entropy = borrow_optional(by_entropy_handle);
    c10::cuda::CUDAGuard guard(logits.device());
    if (logits.size(0) > 0)
      launch(kernel(vocabulary, "logits_gradient", {}), dim3(logits.size(0)), dim3(512), 0, bits(logits), (int)logits.size(1),
             static_cast<int64_t*>(borrow(targets).data_ptr()), (float)(1 / temperature), borrow(log_sums).data_ptr<float>(),
             borrow(entropies).data_ptr<float>(), borrow(by_log_prob).data_ptr<float>(),
             by_entropy.defined() ? by_entropy.data_ptr<float>() : nullptr);
  });
}

static std::string number(const char* name, const at::Tensor& tensor) {
  return std::string("-D") + name + (tensor.scalar_type() == at::kFloat ? "=float" : "=bf16");
}

void add_rows(ct_tensor rows_handle, ct_tensor indices_handle, ct_tensor places, ct_tensor sums_handle) {
  guarded([&] {
    const auto &rows = borrow(rows_handle), &indices = borrow(indices_handle), &sums = borrow(sums_handle);
    c10::cuda::CUDAGuard guard(rows.device());
    int count = rows.size(0), width = rows.size(1);
    if (count == 0) return;
    launch(kernel(vocabulary, "add_rows", {number("SUM", sums)}), dim3(count), dim3(std::min(256, (width / 8 + 31) / 32 * 32)), 0,
           bits(rows), static_cast<int64_t*>(indices.data_ptr()), static_cast<int64_t*>(borrow(places).data_ptr()),
           sums.data_ptr(), width, count);
  });
}

void adamw(ct_tensor weights_handle, ct_tensor remainders, ct_tensor first_handle, ct_tensor second_handle,
           ct_tensor gradients_handle, ct_tensor low, ct_tensor step, double rate, double beta1, double beta2, double epsilon,
           double decay, double gradient_scale) {
  guarded([&] {
    const auto &weights = borrow(weights_handle), &left = borrow_optional(remainders), &first = borrow(first_handle),
               &second = borrow(second_handle), &gradients = borrow(gradients_handle);
    c10::cuda::CUDAGuard guard(weights.device());
    std::vector<std::string> defines = {number("FIRST", first), number("SECOND", second), number("GRADIENT", gradients)};
    if (left.defined()) defines.push_back("-DREMAINDERS");
    long count = weights.numel();
    launch(kernel(optimizer, "adamw", defines), dim3(std::min<long>((count + 1023) / 1024, busy_blocks(16))), dim3(256), 0,
           weights.data_ptr(), left.defined() ? left.data_ptr() : nullptr, first.data_ptr(), second.data_ptr(),
           gradients.data_ptr(), optional_bits(borrow_optional(low)), count, borrow(step).data_ptr<float>(), rate, beta1, beta2,
           epsilon, decay, gradient_scale);
  });
}

}  // namespace ctorch
