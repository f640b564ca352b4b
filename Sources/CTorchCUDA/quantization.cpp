// Matrices as e4m3.
#include "kernel_library.h"

static const char* const quantization =
#include "kernels/float8.cuh"
#include "kernels/quantization.cuh"
    ;

namespace ctorch {

void quantize(ct_tensor handle, int32_t height, int32_t width, bool for_blocks, ct_tensor* values, ct_tensor* scales) {
  guarded([&] {
    const auto& matrix = borrow(handle);
    c10::cuda::CUDAGuard guard(matrix.device());
    bool single = matrix.scalar_type() == at::kFloat;
    TORCH_CHECK((single || matrix.scalar_type() == at::kBFloat16) && matrix.dim() == 2 && matrix.stride(1) == 1,
                "rows of fp32 or bf16 are quantised, not ", matrix.toString(), " of shape ", matrix.sizes());
    long rows = matrix.size(0), stride = matrix.stride(0);
    int columns = matrix.size(1);
    const void* numbers = matrix.data_ptr();
    bool by_eights = columns % 8 == 0 && stride % 8 == 0 && (width % 8 == 0 || width >= columns) &&
                     reinterpret_cast<uintptr_t>(numbers) % 16 == 0;
    std::vector<std::string> defines;
    if (single) defines.push_back("-DSINGLE");
    if (by_eights) defines.push_back("-DVECTOR");
    // cuBLASLt takes rows by fours, of which the last ones may hold anything.
    long all = for_blocks ? (rows + 3) / 4 * 4 : rows;
    auto result = at::empty({all, columns}, matrix.options().dtype(at::kFloat8_e4m3fn));
    bool is_one = height == 0;
    if (is_one) {
      width = std::max(columns, 1);
      height = std::max(1, 32768 / width);
    }
    int across = std::max(1, (columns + width - 1) / width), down = (rows + height - 1) / height;
    auto numbers_of_scales = matrix.options().dtype(at::kFloat);
    auto factors = for_blocks ? at::empty({across, all}, numbers_of_scales).t() : at::empty({rows, across}, numbers_of_scales);
    at::Tensor largest = is_one ? at::zeros({1}, factors.options()) : at::Tensor();
    long steps = std::min<long>(height, rows) * std::min(width, columns) / (by_eights ? 8 : 1);
    dim3 grid(down, across), block(std::min<long>(256, std::max<long>(32, (steps + 31) / 32 * 32)));
    if (down > 0 && is_one)
      launch_early(kernel(quantization, "largest_number", defines), grid, block, 0, numbers, stride, rows, columns, height, width,
             largest.data_ptr());
    if (down > 0)
      launch_early(kernel(quantization, "quantize", defines), grid, block, 0, numbers, stride, rows, columns, height, width,
             is_one ? largest.data_ptr<float>() : nullptr, result.data_ptr(), factors.data_ptr<float>(), (long)factors.stride(0),
             (long)factors.stride(1));
    *values = give(result);
    *scales = give(factors);
  });
}

}  // namespace ctorch
