// Our kernels without gradients, called on ATen's tensors: what the engine runs, and the forward passes of training.
#include <ATen/cuda/CachingHostAllocator.h>

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
    // Of few tokens a warp has one head, of many it reads several at once.
    int tokens = query.size(0), at_once = tokens <= 256 ? 1 : 4, parts = (heads + key_heads + at_once - 1) / at_once;
    int blocks = std::min<long>(((long)tokens * parts + 7) / 8, busy_blocks(4));
    auto function = kernel(layers, "norm_rotate", {head(query.size(2)), "-DHEADS_AT_ONCE=" + std::to_string(at_once)});
    launch_early(function, dim3(blocks), dim3(256), 0, bits(query), (long)query.stride(0), heads, bits(key), (long)key.stride(0),
                 key_heads, optional_bits(borrow_optional(query_weight)), optional_bits(borrow_optional(key_weight)),
                 (float)epsilon, bits(cosine), bits(borrow(sine)), (int)cosine.size(-1), bits(turned), bits(turned_key), tokens);
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

void transfer(ct_tensor source_handle, ct_tensor target_handle) {
  guarded([&] {
    const auto &source = borrow(source_handle), &target = borrow(target_handle);
    auto device = source.is_cuda() ? source.device() : target.device();
    c10::cuda::CUDAGuard guard(device);
    TORCH_CHECK(device.is_cuda() && source.is_contiguous() && target.is_contiguous() && source.nbytes() == target.nbytes() &&
                    source.nbytes() % 4 == 0, "transfer copies contiguous numbers of four bytes");
    int count = source.nbytes() / 4;
    launch_early(kernel(layers, "transfer", {head(128)}), dim3(std::clamp((count + 255) / 256, 1, busy_blocks(1))), dim3(256), 0,
                 static_cast<const uint32_t*>(source.data_ptr()), static_cast<uint32_t*>(target.data_ptr()), count);
    // Pinned memory is not anybody else's before that is done.
    auto stream = c10::cuda::getCurrentCUDAStream();
    for (auto* tensor : {&source, &target})
      if (!tensor->is_cuda())
        at::getHostAllocator(at::kCUDA)->record_event(tensor->data_ptr(), tensor->storage().data_ptr().get_context(), stream.unwrap());
  });
}

void embed(ct_tensor tokens_handle, ct_tensor weight_handle, ct_tensor positions, ct_tensor frequencies_handle, double magnitude,
           ct_tensor* hidden, ct_tensor* cosine, ct_tensor* sine) {
  guarded([&] {
    const auto &tokens = borrow(tokens_handle), &weight = borrow(weight_handle), &frequencies = borrow(frequencies_handle);
    c10::cuda::CUDAGuard guard(tokens.device());
    int64_t count = tokens.size(0), width = weight.size(1), half = frequencies.numel();
    auto rows = at::empty({count, width}, weight.options()), cosines = at::empty({count, 1, 2 * half}, weight.options());
    auto sines = at::empty_like(cosines);
    if (count > 0)
      launch_early(kernel(layers, "embed", {head(128)}), dim3(count), dim3(std::min<int64_t>(256, std::max<int64_t>(32, width / 8))), 0,
                   static_cast<int64_t*>(tokens.data_ptr()), bits(weight), (int)width,
                   static_cast<int64_t*>(borrow(positions).data_ptr()), frequencies.data_ptr<float>(), (int)half, (float)magnitude,
                   bits(rows), bits(cosines), bits(sines));
    *hidden = give(rows);
    *cosine = give(cosines);
    *sine = give(sines);
  });
}

ct_tensor sample(ct_tensor logits_handle, ct_tensor temperatures, ct_tensor keys, ct_tensor is_greedy) {
  return guarded<>(ct_tensor{}, [&] {
    const auto& logits = borrow(logits_handle);
    c10::cuda::CUDAGuard guard(logits.device());
    // A block has eight columns for each of its threads at a time.
    int rows = logits.size(0), columns = logits.size(1), most = (columns + 2047) / 2048;
    int blocks = std::min(most, std::max(1, busy_blocks(4) / rows));
    auto parts = at::empty({rows, blocks, 5}, logits.options().dtype(at::kInt));
    auto samples = at::empty({2, rows}, logits.options().dtype(at::kLong));
    auto* chosen = static_cast<int64_t*>(samples.data_ptr());
    launch_early(kernel(sampling, "sample_parts", {}), dim3(blocks, rows), dim3(256), 0, bits(logits), (long)logits.stride(0),
                 columns, borrow(temperatures).data_ptr<float>(), static_cast<int64_t*>(borrow(keys).data_ptr()),
                 static_cast<uint8_t*>(borrow(is_greedy).data_ptr()), parts.data_ptr());
    launch_early(kernel(sampling, "choose", {}), dim3(rows), dim3(32), 0, parts.data_ptr(), blocks, chosen, chosen + rows);
    return give(samples);
  });
}

}  // namespace ctorch
