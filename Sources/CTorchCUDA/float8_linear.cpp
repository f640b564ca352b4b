// Products with matrices of e4m3, for the rows of a small batch that decodes.
#include "kernel_library.h"

static const char* const float8_linear =
#include "kernels/few_rows.cuh"
#include "kernels/float8.cuh"
#include "kernels/float8_linear.cuh"
    ;

namespace ctorch {

ct_tensor few_rows_float8_linear(ct_tensor input_handle, ct_tensor norm, double epsilon, bool is_gated, ct_tensor weight_handle,
                                 ct_tensor scales_handle, ct_tensor bias, ct_tensor residual) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &input = borrow(input_handle), &weight = borrow(weight_handle), &scales = borrow(scales_handle);
    c10::cuda::CUDAGuard guard(input.device());
    constexpr int tile = 8, chunk = 128, warps = 16;
    int rows = input.size(0), inputs = weight.size(1), outputs = weight.size(0), groups = scales.size(1);
    int chunks = (inputs + chunk - 1) / chunk;
    TORCH_CHECK(groups == 1 || groups == chunks, "scales are of rows or of ", chunk, " numbers, not ", groups, " of ", inputs);
    // Rows begin at other banks of shared memory.
    int row_bytes = chunks * chunk + 64;
    auto shared_bytes = [&](int blocks) {
      int tiles = ((outputs + blocks - 1) / blocks + tile - 1) / tile;
      return rows * row_bytes + (groups * tiles * tile + (tiles + warps - 1) * rows * tile + rows * groups) * sizeof(float) +
             (norm || is_gated ? rows * inputs * sizeof(uint16_t) + 16 : 0);
    };
    // A block for each processor, or several of which each makes fewer outputs, within what a block may have unasked.
    int most = (outputs + tile - 1) / tile, blocks = std::min(busy_blocks(1), most);
    for (int each = 2; shared_bytes(blocks) > 47 << 10 && blocks < most; ++each) blocks = std::min(busy_blocks(each), most);
    std::vector<std::string> defines = {"-DROWS=" + std::to_string(rows)};
    if (groups > 1) defines.push_back("-DGROUPED");
    if (norm) defines.push_back("-DNORMED");
    if (is_gated) defines.push_back("-DGATED");
    auto output = at::empty({rows, outputs}, input.options());
    launch_early(kernel(float8_linear, "few_rows_float8_linear", defines), dim3(blocks), dim3(warps * 32), shared_bytes(blocks),
                 bits(input), optional_bits(borrow_optional(norm)), (float)epsilon, static_cast<uint8_t*>(weight.data_ptr()),
                 scales.data_ptr<float>(), (long)scales.stride(0), (long)scales.stride(1),
                 optional_bits(borrow_optional(bias)), optional_bits(borrow_optional(residual)), bits(output), inputs, outputs,
                 row_bytes);
    return give(output);
  });
}

}  // namespace ctorch
