// x Wᵀ of which a row is the same bits however many rows are computed beside it.
//
// cuBLASLt's kernels compute each tile of a product by itself, so as long as one of them computes all products with a weight,
// a row does not depend on others. Kernels that sum in the same order give the same bits: of those that cuBLASLt proposes for
// few and for many rows, the first is taken that agrees with the one for `usual_rows`, on numbers whose sums cancel, so that
// all that is left of them is what was rounded on the way.
//
// Few rows have a kernel of our own, which sums in that order too: it is taken where it agrees on the same numbers. It can also
// find what it multiplies, and add to the product, in the bits of the kernels that do so for many rows.
#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>

#include "cublas_lt.h"

static const char* const of_few_rows =
#include "kernels/invariant_rows.cuh"
#include "kernels/invariant_products.cuh"
    ;

namespace {

using namespace ctorch;

constexpr int64_t usual_rows = 256;
/// Products of up to so many rows have an algorithm of their own; the last one is for more, too.
constexpr std::array<int64_t, 7> classes = {16, 32, 64, 128, usual_rows, 1024, 4096};
constexpr size_t usual_class = 4;
constexpr int most_proposals = 16;
/// Bytes that an algorithm may work in: too few to keep sums there.
constexpr size_t most_workspace = 1024;
/// Columns of a weight that algorithms are compared on.
constexpr int64_t most_probed = 4096;

BlasProduct product(int64_t rows, int64_t inputs, int64_t outputs) {
  return {{CUDA_R_16BF, inputs, outputs, inputs, true}, {CUDA_R_16BF, inputs, rows, inputs}, {CUDA_R_16BF, outputs, rows, outputs}};
}

/// False where the algorithm does not know such a product.
bool run(const BlasProduct& product, const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w, void* result) {
  // Where blocks count the tiles that they have taken.
  auto bytes = product.workspace(algorithm);
  return bytes && *bytes <= most_workspace && product.run(algorithm, *bytes, w, x, 0, result);
}

/// What our kernel does beside a product; as `few_rows_linear` of ctorch_cuda.h says.
struct More {
  at::Tensor norm;
  double epsilon = 0;
  bool is_gated = false;
  at::Tensor bias, residual;
};

/// How our kernel divides a product of few rows.
struct Division {
  static constexpr int most_rows = 16, most_warps = 8;
  // As in the kernel.
  static constexpr int tile = 8, chunk = 128, apart = 16, threads = 256, slot_bytes = tile * (chunk * 2 + apart);
  /// Of each warp.
  static constexpr int least_slots = 4, most_slots = 32;
  /// Chunks that keep a multiprocessor's share of the memory busy.
  static constexpr int least_chunks = 16;
  static constexpr int least_room = 64 << 10, most_room = 96 << 10;

  int blocks, warps, slots, shared_bytes;
  bool is_fast;

  Division(int rows, int inputs, int outputs, const cudaDeviceProp& device) {
    auto divided = [](int whole, int part) { return (whole + part - 1) / part; };
    blocks = std::min(device.multiProcessorCount, divided(outputs, tile));
    int tiles = divided(divided(outputs, blocks), tile), rounds = divided(tiles, most_warps), chunks = divided(inputs, chunk);
    warps = divided(tiles, rounds);
    int x_bytes = rows * (chunks * chunk * 2 + apart);
    // A kernel that takes half of a multiprocessor leaves room for the next one, whose weights are then on their way early.
    int room = (int)(device.sharedMemPerMultiprocessor / 2 - device.reservedSharedMemPerBlock) - x_bytes;
    if (room < least_room) room = std::min(most_room, (int)device.sharedMemPerBlockOptin - x_bytes);
    int wanted = std::clamp(chunks * rounds, least_slots, most_slots);
    slots = std::min(room / (warps * slot_bytes), wanted);
    is_fast = slots == wanted || (slots >= least_slots && slots * warps >= least_chunks);
    if (slots > 8) slots = slots / 4 * 4;  // kernels are compiled for numbers of slots
    shared_bytes = warps * slots * slot_bytes + x_bytes;
  }

  void multiply(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& result, const More& more = {}) const {
    int inputs = weight.size(1);
    std::vector<std::string> defines = {"-DSLOTS=" + std::to_string(slots)};
    if (more.norm.defined()) defines.push_back("-DNORMED=" + std::to_string((inputs + 8 * threads - 1) / (8 * threads)));
    if (more.is_gated) defines.push_back("-DGATED");
    auto function = ctorch::kernel(of_few_rows, "invariant_products", defines);
    ctorch::allow_shared_memory(function);
    ctorch::launch_early(function, dim3(blocks), dim3(threads), shared_bytes, ctorch::bits(x), ctorch::optional_bits(more.norm),
                         (float)more.epsilon, ctorch::bits(weight), ctorch::optional_bits(more.bias),
                         ctorch::optional_bits(more.residual), ctorch::bits(result), (int)x.size(0), inputs,
                         (int)weight.size(0), warps);
  }
};

/// Random rows whose second half, or negative second half, is their first.
at::Tensor cancelling(int64_t rows, int64_t columns, int sign, const at::TensorOptions& options) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  auto half = at::randn({rows, columns / 2}, generator, at::TensorOptions().dtype(at::kFloat)).to(options);
  return at::cat({half, half * sign}, 1).contiguous();
}

/// Rows up to which our kernel is fast with a weight of some shape and has the wanted bits of the first outputs.
int64_t rows_of_own(const at::Tensor& x, const at::Tensor& weight, int64_t outputs, const at::Tensor& wanted) {
  auto& device = *at::cuda::getCurrentDeviceProperties();
  if (device.major < 8 || x.size(1) % 16 != 0) return 0;
  int64_t rows = 0;
  for (; rows < Division::most_rows; ++rows) {
    // As it divides all outputs, so that what is compiled and found to agree is what will run.
    Division division(rows + 1, x.size(1), outputs, device);
    if (!division.is_fast) break;
    auto found = at::empty({rows + 1, weight.size(0)}, x.options());
    division.multiply(x.narrow(0, 0, rows + 1), weight, found);
    if (!found.equal(wanted.narrow(0, 0, rows + 1))) break;
  }
  return rows;
}

/// What computes products with weights of one shape.
struct Choice {
  /// Of each class.
  std::array<cublasLtMatmulAlgo_t, classes.size()> algorithms;
  /// Up to so many rows are our own kernel's.
  int64_t rows_of_own = 0;
};

Choice agreeing(int64_t inputs, int64_t outputs, const at::TensorOptions& options) {
  int64_t probed = std::min(outputs, most_probed);
  auto x = cancelling(usual_rows, inputs, -1, options), w = cancelling(probed, inputs, 1, options);
  auto result = [&](const cublasLtMatmulAlgo_t& algorithm, int64_t rows) -> std::optional<at::Tensor> {
    auto output = at::empty({rows, probed}, options);
    if (!run(product(rows, inputs, probed), algorithm, x.data_ptr(), w.data_ptr(), output.data_ptr())) return {};
    return output;
  };
  // Without memory for them no sums are kept.
  auto usual = product(usual_rows, inputs, outputs).proposals<most_proposals>(0);
  TORCH_CHECK(!usual.empty(), "cuBLASLt has no product of ", inputs, " by ", outputs, " that divides no sum");
  auto wanted = result(usual[0].algo, usual_rows);
  Choice chosen;
  chosen.algorithms.fill(usual[0].algo);
  if (!wanted) return chosen;
  chosen.rows_of_own = rows_of_own(x, w, outputs, *wanted);
  for (size_t i = 0; i < classes.size(); ++i) {
    int64_t rows = std::min(classes[i], usual_rows);
    auto expected = wanted->narrow(0, 0, rows);
    for (auto& proposal : product(classes[i], inputs, outputs).proposals<most_proposals>(0)) {
      auto found = result(proposal.algo, rows);
      if (!found || !found->equal(expected)) continue;
      chosen.algorithms[i] = proposal.algo;
      break;
    }
  }
  return chosen;
}

const Choice& choice(int64_t inputs, int64_t outputs, const at::TensorOptions& options) {
  static std::mutex mutex;
  static std::map<std::array<int64_t, 3>, Choice> known;
  std::lock_guard lock(mutex);
  std::array<int64_t, 3> key = {options.device().index(), inputs, outputs};
  auto found = known.find(key);
  if (found == known.end()) found = known.emplace(key, agreeing(inputs, outputs, options)).first;
  return found->second;
}

}  // namespace

namespace ctorch {

ct_tensor invariant_linear(ct_tensor input_handle, ct_tensor weight_handle) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &input = borrow(input_handle), &weight = borrow(weight_handle);
    c10::cuda::CUDAGuard guard(input.device());
    int64_t rows = input.size(0), inputs = input.size(1), outputs = weight.size(0);
    auto output = at::empty({rows, outputs}, input.options());
    if (rows == 0) return give(output);
    auto& chosen = choice(inputs, outputs, input.options());
    if (rows <= chosen.rows_of_own && is_aligned(input) && is_aligned(weight)) {
      Division(rows, inputs, outputs, *at::cuda::getCurrentDeviceProperties()).multiply(input, weight, output);
      return give(output);
    }
    auto own = std::min<size_t>(std::lower_bound(classes.begin(), classes.end(), rows) - classes.begin(), classes.size() - 1);
    auto wanted = product(rows, inputs, outputs);
    auto runs = [&](size_t of) { return run(wanted, chosen.algorithms[of], input.data_ptr(), weight.data_ptr(), output.data_ptr()); };
    TORCH_CHECK(runs(own) || runs(usual_class),
                "cuBLASLt could not multiply ", rows, " rows of ", inputs, " numbers with ", outputs, " columns");
    return give(output);
  });
}

int32_t invariant_few_rows(ct_tensor weight_handle) {
  return guarded<>(int32_t(0), [&]() -> int32_t {
    const auto& weight = borrow(weight_handle);
    c10::cuda::CUDAGuard guard(weight.device());
    if (!weight.is_contiguous() || !is_aligned(weight)) return 0;
    return choice(weight.size(1), weight.size(0), weight.options()).rows_of_own;
  });
}

ct_tensor invariant_few_rows_linear(ct_tensor input_handle, ct_tensor norm, double epsilon, bool is_gated,
                                    ct_tensor weight_handle, ct_tensor bias, ct_tensor residual) {
  return guarded<>(ct_tensor{}, [&] {
    const auto &input = borrow(input_handle), &weight = borrow(weight_handle);
    c10::cuda::CUDAGuard guard(input.device());
    int64_t rows = input.size(0), outputs = weight.size(0);
    auto output = at::empty({rows, outputs}, input.options());
    Division(rows, weight.size(1), outputs, *at::cuda::getCurrentDeviceProperties())
        .multiply(input, weight, output,
                  {borrow_optional(norm), epsilon, is_gated, borrow_optional(bias), borrow_optional(residual)});
    return give(output);
  });
}

}  // namespace ctorch
