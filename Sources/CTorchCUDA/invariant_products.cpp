// x Wᵀ of which a row is the same bits however many rows are computed beside it.
//
// cuBLASLt's kernels compute each tile of a product by itself, so as long as one of them computes all products with a weight,
// a row does not depend on others. Kernels that sum in the same order give the same bits: of those that cuBLASLt proposes for
// few and for many rows, the first is taken that agrees with the one for `usual_rows`, on numbers whose sums cancel, so that
// all that is left of them is what was rounded on the way.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <optional>

#include "kernel_library.h"

namespace {

constexpr int64_t usual_rows = 256;
/// Products of up to so many rows have an algorithm of their own; the last one is for more, too.
constexpr std::array<int64_t, 7> classes = {16, 32, 64, 128, usual_rows, 1024, 4096};
constexpr size_t usual_class = 4;
constexpr int proposals = 16;
/// Bytes that an algorithm may work in: too few to keep sums there.
constexpr size_t most_workspace = 1024;
/// Columns of a weight that algorithms are compared on.
constexpr int64_t most_probed = 4096;

void check(cublasStatus_t status, const char* what) {
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt could not ", what, ": ", cublasLtGetStatusString(status));
}

/// Frees what cuBLASLt made.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct Owned {
  Handle handle = nullptr;
  ~Owned() { if (handle) destroy(handle); }
};

/// A product as cuBLASLt sees it, columns first: Wᵀ (kept as W, transposed) times x.
struct Product {
  Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation;
  Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> weight, input, output;

  Product(int64_t rows, int64_t inputs, int64_t outputs) {
    check(cublasLtMatmulDescCreate(&operation.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
    cublasOperation_t transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescSetAttribute(operation.handle, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)),
          "describe a product");
    check(cublasLtMatrixLayoutCreate(&weight.handle, CUDA_R_16BF, inputs, outputs, inputs), "describe a weight");
    check(cublasLtMatrixLayoutCreate(&input.handle, CUDA_R_16BF, inputs, rows, inputs), "describe an input");
    check(cublasLtMatrixLayoutCreate(&output.handle, CUDA_R_16BF, outputs, rows, outputs), "describe an output");
  }

  std::vector<cublasLtMatmulAlgo_t> algorithms() const {
    Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference;
    check(cublasLtMatmulPreferenceCreate(&preference.handle), "state a preference");
    auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference.handle, attribute, &value, sizeof(value)), "state a preference");
    };
    // Without reductions and memory for them no sum is divided.
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t(0));
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_NONE));
    for (auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                           CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(attribute, uint32_t(16));
    std::array<cublasLtMatmulHeuristicResult_t, proposals> found;
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(at::cuda::getCurrentCUDABlasLtHandle(), operation.handle, weight.handle, input.handle,
                                         output.handle, output.handle, preference.handle, proposals, found.data(), &count),
          "propose an algorithm");
    std::vector<cublasLtMatmulAlgo_t> algorithms;
    for (int i = 0; i < count; ++i)
      if (found[i].state == CUBLAS_STATUS_SUCCESS) algorithms.push_back(found[i].algo);
    return algorithms;
  }

  /// False where the algorithm does not know such a product.
  bool run(const cublasLtMatmulAlgo_t& algorithm, const void* x, const void* w, void* result) const {
    float one = 1, zero = 0;
    auto handle = at::cuda::getCurrentCUDABlasLtHandle();
    cublasLtMatmulHeuristicResult_t checked;
    if (cublasLtMatmulAlgoCheck(handle, operation.handle, weight.handle, input.handle, output.handle, output.handle, &algorithm,
                                &checked) != CUBLAS_STATUS_SUCCESS || checked.workspaceSize > most_workspace)
      return false;
    // Where blocks count the tiles that they have taken.
    auto bytes = static_cast<int64_t>(checked.workspaceSize);
    auto workspace = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(at::kCUDA, c10::cuda::current_device()));
    return cublasLtMatmul(handle, operation.handle, &one, w, weight.handle, x, input.handle, &zero, result, output.handle, result,
                          output.handle, &algorithm, workspace.data_ptr(), bytes, c10::cuda::getCurrentCUDAStream()) ==
           CUBLAS_STATUS_SUCCESS;
  }
};

/// Random rows whose second half, or negative second half, is their first.
at::Tensor cancelling(int64_t rows, int64_t columns, int sign, const at::TensorOptions& options) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(7);
  auto half = at::randn({rows, columns / 2}, generator, at::TensorOptions().dtype(at::kFloat)).to(options);
  return at::cat({half, half * sign}, 1).contiguous();
}

/// For one weight's shape: the algorithm of each class.
using Algorithms = std::array<cublasLtMatmulAlgo_t, classes.size()>;

Algorithms agreeing(int64_t inputs, int64_t outputs, const at::TensorOptions& options) {
  int64_t probed = std::min(outputs, most_probed);
  auto x = cancelling(usual_rows, inputs, -1, options), w = cancelling(probed, inputs, 1, options);
  auto result = [&](const cublasLtMatmulAlgo_t& algorithm, int64_t rows) -> std::optional<at::Tensor> {
    auto output = at::empty({rows, probed}, options);
    if (!Product(rows, inputs, probed).run(algorithm, x.data_ptr(), w.data_ptr(), output.data_ptr())) return {};
    return output;
  };
  auto usual = Product(usual_rows, inputs, outputs).algorithms();
  TORCH_CHECK(!usual.empty(), "cuBLASLt has no product of ", inputs, " by ", outputs, " that divides no sum");
  auto wanted = result(usual[0], usual_rows);
  Algorithms chosen;
  chosen.fill(usual[0]);
  if (!wanted) return chosen;
  for (size_t i = 0; i < classes.size(); ++i) {
    int64_t rows = std::min(classes[i], usual_rows);
    auto expected = wanted->narrow(0, 0, rows);
    for (auto& algorithm : Product(classes[i], inputs, outputs).algorithms()) {
      auto found = result(algorithm, rows);
      if (!found || !found->equal(expected)) continue;
      chosen[i] = algorithm;
      break;
    }
  }
  return chosen;
}

const Algorithms& algorithms(int64_t inputs, int64_t outputs, const at::TensorOptions& options) {
  static std::mutex mutex;
  static std::map<std::array<int64_t, 3>, Algorithms> known;
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
    auto& known = algorithms(inputs, outputs, input.options());
    auto own = std::min<size_t>(std::lower_bound(classes.begin(), classes.end(), rows) - classes.begin(), classes.size() - 1);
    Product product(rows, inputs, outputs);
    TORCH_CHECK(product.run(known[own], input.data_ptr(), weight.data_ptr(), output.data_ptr()) ||
                    product.run(known[usual_class], input.data_ptr(), weight.data_ptr(), output.data_ptr()),
                "cuBLASLt could not multiply ", rows, " rows of ", inputs, " numbers with ", outputs, " columns");
    return give(output);
  });
}

}  // namespace ctorch
