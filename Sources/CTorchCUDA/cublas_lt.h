// Products by cuBLASLt, of algorithms that are named: what libtorch leaves to its heuristics.
#pragma once

#include <cublasLt.h>

#include <array>
#include <optional>
#include <vector>

#include "kernel_library.h"

namespace ctorch {

inline void check_blas(cublasStatus_t status, const char* what) {
  TORCH_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt could not ", what, ": ", cublasLtGetStatusString(status));
}

/// Frees what cuBLASLt made.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct BlasOwned {
  Handle handle = nullptr;
  BlasOwned() = default;
  BlasOwned(const BlasOwned&) = delete;
  ~BlasOwned() { if (handle) destroy(handle); }
};

/// A matrix as cuBLASLt sees it, columns first, and whether it is multiplied as its transpose.
struct BlasMatrix {
  cudaDataType_t type;
  int64_t rows, columns, stride;
  bool is_transposed = false;
};

/// first · second, in fp32 sums.
class BlasProduct {
 public:
  /// - Parameter bias: a number of bf16 for each row of the output; NULL: nothing is added.
  BlasProduct(const BlasMatrix& first, const BlasMatrix& second, const BlasMatrix& output, const void* bias = nullptr) {
    check_blas(cublasLtMatmulDescCreate(&operation_.handle, CUBLAS_COMPUTE_32F, CUDA_R_32F), "describe a product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, first.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, second.is_transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
    describe(first_, first);
    describe(second_, second);
    describe(output_, output);
    if (!bias) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
  }

  /// Algorithms that divide no sum, the one first that cuBLASLt thinks best.
  template <int COUNT>
  std::vector<cublasLtMatmulHeuristicResult_t> proposals(uint64_t most_workspace) const {
    BlasOwned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference;
    check_blas(cublasLtMatmulPreferenceCreate(&preference.handle), "state a preference");
    auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      check_blas(cublasLtMatmulPreferenceSetAttribute(preference.handle, attribute, &value, sizeof(value)), "state a preference");
    };
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, most_workspace);
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, uint32_t(CUBLASLT_REDUCTION_SCHEME_NONE));
    for (auto attribute : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                           CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(attribute, uint32_t(16));
    std::array<cublasLtMatmulHeuristicResult_t, COUNT> found;
    int count = 0;
    auto status = cublasLtMatmulAlgoGetHeuristic(
        at::cuda::getCurrentCUDABlasLtHandle(), operation_.handle, first_.handle, second_.handle, output_.handle, output_.handle,
        preference.handle, COUNT, found.data(), &count);
    std::vector<cublasLtMatmulHeuristicResult_t> results;
    if (status == CUBLAS_STATUS_NOT_SUPPORTED) return results;
    check_blas(status, "propose an algorithm");
    for (int i = 0; i < count; ++i)
      if (found[i].state == CUBLAS_STATUS_SUCCESS) results.push_back(found[i]);
    return results;
  }

  /// Bytes that an algorithm works in; nothing where it does not know such a product.
  std::optional<size_t> workspace(const cublasLtMatmulAlgo_t& algorithm) const {
    cublasLtMatmulHeuristicResult_t checked;
    if (cublasLtMatmulAlgoCheck(at::cuda::getCurrentCUDABlasLtHandle(), operation_.handle, first_.handle, second_.handle,
                                output_.handle, output_.handle, &algorithm, &checked) != CUBLAS_STATUS_SUCCESS)
      return {};
    return checked.workspaceSize;
  }

  /// output = first · second + kept · output
  bool run(const cublasLtMatmulAlgo_t& algorithm, size_t workspace_bytes, const void* first, const void* second, float kept,
           void* output) const {
    float one = 1;
    auto bytes = static_cast<int64_t>(workspace_bytes);
    auto workspace = at::empty({bytes}, at::TensorOptions().dtype(at::kByte).device(at::kCUDA, c10::cuda::current_device()));
    return cublasLtMatmul(at::cuda::getCurrentCUDABlasLtHandle(), operation_.handle, &one, first, first_.handle, second,
                          second_.handle, &kept, output, output_.handle, output, output_.handle, &algorithm,
                          workspace.data_ptr(), bytes, c10::cuda::getCurrentCUDAStream()) == CUBLAS_STATUS_SUCCESS;
  }

 private:
  using Layout = BlasOwned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
  BlasOwned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> operation_;
  Layout first_, second_, output_;

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value) {
    check_blas(cublasLtMatmulDescSetAttribute(operation_.handle, attribute, &value, sizeof(value)), "describe a product");
  }
  static void describe(Layout& layout, const BlasMatrix& matrix) {
    check_blas(cublasLtMatrixLayoutCreate(&layout.handle, matrix.type, matrix.rows, matrix.columns, matrix.stride),
               "describe a matrix");
  }
};

/// 16 bytes can be read at a time.
inline bool is_aligned(const at::Tensor& tensor) { return reinterpret_cast<uintptr_t>(tensor.data_ptr()) % 16 == 0; }

}  // namespace ctorch
