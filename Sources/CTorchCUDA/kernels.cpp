// Our kernels without gradients, called on ATen's tensors: what the engine runs, and the forward passes of training.
#include "kernel_library.h"

static const char* const layers =
#include "kernels/layers.cuh"
    ;
static const char* const few_rows =
#include "kernels/few_rows.cuh"
#include "kernels/few_rows_linear.cuh"
    ;
static const char* const sampling =
#include "kernels/sampling.cuh"
    ;

namespace ctorch {

void write_pages(ct_tensor key_handle, ct_tensor value_handle, ct_tensor keys, ct_tensor values, ct_tensor slots) {
  guarded([&] {
    const auto &key = borrow(key_handle), &value = borrow(value_handle);
    c10::cuda::CUDAGuard guard(key.device());
    int width = key.size(1) * key.size(2);
    auto function = kernel(layers, "write_pages", {head(128)});
    launch_early(function, dim3(key.size(0)), dim3(std::min(256, std::max(32, width / 8))), 0, bits(key), (long)key.stride(0),
           bits(value), (long)value.stride(0), bits(borrow(keys)), bits(borrow(values)),
           static_cast<int64_t*>(borrow(slots).data_ptr()), width);
  });
}

ct_tensor silu_multiply(ct_tensor handle) {
  return guarded<>(ct_tensor{}, [&] {
    const auto& both = borrow(handle);
    c10::cuda::CUDAGuard guard(both.device());
    int width = both.size(1) / 2;
    auto output = at::empty({both.size(0), width}, both.options());
    long count = output.numel();
    launch_early(kernel(layers, "silu_multiply", {head(128)}), dim3(std::min<long>((count + 2047) / 2048, 2112)), dim3(256), 0,
           bits(both), bits(output), width, count);
    return give(output);
  });
}

void add_norm(ct_tensor input_handle, ct_tensor delta, ct_tensor weight, double epsilon, ct_tensor* sum, ct_tensor* normed) {
  guarded([&] {
    const auto& input = borrow(input_handle);
    c10::cuda::CUDAGuard guard(input.device());
    int width = input.size(1);
    auto total = delta ? at::empty_like(input) : input, result = at::empty_like(input);
    int threads = std::min(1024, std::max(32, (width / 8 + 31) / 32 * 32));
    launch_early(kernel(layers, "add_norm", {head(128)}), dim3(input.size(0)), dim3(threads), width * sizeof(float), bits(input),
           optional_bits(borrow_optional(delta)), bits(borrow(weight)), (float)epsilon, bits(total), bits(result), width);
    *sum = give(total);
    *normed = give(result);
  });
}

void norm_rotate(ct_tensor query_handle, ct_tensor key_handle, ct_tensor query_weight, ct_tensor key_weight, double epsilon,
                 ct_tensor cosine_handle, ct_tensor sine, ct_tensor* new_query, ct_tensor* new_key) {
  guarded([&] {
    const auto &query = borrow(query_handle), &key = borrow(key_handle), &cosine = borrow(cosine_handle);
    c10::cuda::CUDAGuard guard(query.device());
    int heads = query.size(1), key_heads = key.size(1);
    auto turned = at::empty(query.sizes(), query.options()), turned_key = at::empty(key.sizes(), key.options());
    launch_early(kernel(layers, "norm_rotate", {head(query.size(2))}),
                 dim3(query.size(0), query.size(0) <= 256 ? (heads + key_heads + 7) / 8 : 1), dim3(256), 0, bits(query),
                 (long)query.stride(0), heads, bits(key), (long)key.stride(0), key_heads, optional_bits(borrow_optional(query_weight)),
           optional_bits(borrow_optional(key_weight)), (float)epsilon, bits(cosine), bits(borrow(sine)),
           (int)cosine.size(-1), bits(turned), bits(turned_key));
    *new_query = give(turned);
    *new_key = give(turned_key);
  });
}

ct_tensor few_rows_linear(ct_tensor input_handle, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight_handle,
                          ct_tensor bias, ct_tensor residual) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &input = borrow(input_handle), &weight = borrow(weight_handle);
    c10::cuda::CUDAGuard guard(input.device());
    int rows = input.size(0), inputs = weight.size(1), outputs = weight.size(0);
    auto output = at::empty({rows, outputs}, input.options());
    // As many blocks as run at once, or fewer that all have as much to do.
    int wanted = (outputs + 7) / 8, rounds = (wanted + busy_blocks(3) - 1) / busy_blocks(3);
    int blocks = (wanted + rounds - 1) / rounds;
    // Loads of a warp that leave few of its lanes without a part of the row.
    int ahead = inputs % 1280 == 0 ? 5 : inputs % 2048 == 0 || inputs > 8192 ? 8 : 4;
    std::vector<std::string> defines = {"-DROWS=" + std::to_string(rows), "-DAHEAD=" + std::to_string(ahead)};
    if (norm) defines.push_back("-DNORMED");
    if (is_gated) defines.push_back("-DGATED");
    launch_early(kernel(few_rows, "few_rows_linear", defines), dim3(blocks), dim3(256), rows * inputs * sizeof(uint16_t),
                 bits(input), optional_bits(borrow_optional(norm)), (float)epsilon, bits(weight),
                 optional_bits(borrow_optional(bias)), optional_bits(borrow_optional(residual)), bits(output), inputs, outputs);
    return give(output);
  });
}

void sample(ct_tensor logits_handle, ct_tensor temperatures, ct_tensor keys, ct_tensor is_greedy, ct_tensor* tokens,
            ct_tensor* scores, ct_tensor* log_probs) {
  guarded([&] {
    const auto& logits = borrow(logits_handle);
    c10::cuda::CUDAGuard guard(logits.device());
    int rows = logits.size(0), columns = logits.size(1), blocks = std::min(32, std::max(1, 528 / rows));
    auto parts = at::empty({rows, blocks, 5}, logits.options().dtype(at::kInt));
    auto chosen = at::empty({rows}, logits.options().dtype(at::kLong));
    auto best = at::empty({rows}, logits.options().dtype(at::kFloat)), values = at::empty_like(best);
    launch(kernel(sampling, "sample_parts", {}), dim3(blocks, rows), dim3(256), 0, bits(logits), (long)logits.stride(0),
           columns, borrow(temperatures).data_ptr<float>(), static_cast<int64_t*>(borrow(keys).data_ptr()),
           static_cast<uint8_t*>(borrow(is_greedy).data_ptr()), parts.data_ptr());
    launch(kernel(sampling, "choose", {}), dim3(rows), dim3(32), 0, parts.data_ptr(), blocks,
           static_cast<int64_t*>(chosen.data_ptr()), best.data_ptr<float>(), values.data_ptr<float>());
    *tokens = give(chosen);
    *scores = give(best);
    *log_probs = give(values);
  });
}

}  // namespace ctorch
