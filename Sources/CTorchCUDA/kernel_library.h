// How the kernels of `kernels/` are found and launched.
#pragma once

#include <ATen/cuda/CUDAContextLight.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>

#include <string>
#include <vector>

#include "cuda_functions.h"

namespace ctorch {

/// A kernel of one of the sources; `defines` are part of its name.
const void* kernel(const char* source, const char* name, const std::vector<std::string>& defines);

/// Launches a kernel that waits by itself for what was queued before it.
template <class... Arguments>
void launch_early(const void* function, dim3 grid, dim3 block, size_t shared, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  cudaLaunchAttribute early;
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t configuration{grid, block, shared, c10::cuda::getCurrentCUDAStream(), &early,
                                   at::cuda::getCurrentDeviceProperties()->major >= 9 ? 1u : 0u};
  C10_CUDA_CHECK(cudaLaunchKernelExC(&configuration, function, pointers));
}

/// As `launch_early`, blocks that follow one another in the grid's last dimension, all of them, as a cluster.
template <class... Arguments>
void launch_cluster(const void* function, dim3 grid, dim3 block, size_t shared, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {1, 1, grid.z};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t configuration{grid, block, shared, c10::cuda::getCurrentCUDAStream(), attributes, 2};
  C10_CUDA_CHECK(cudaLaunchKernelExC(&configuration, function, pointers));
}

/// Launches a kernel whose blocks wait for each other: they begin when there is room for all.
template <class... Arguments>
void launch_together(const void* function, dim3 grid, dim3 block, size_t shared, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  C10_CUDA_CHECK(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
  cudaLaunchAttribute together;
  together.id = cudaLaunchAttributeCooperative;
  together.val.cooperative = 1;
  cudaLaunchConfig_t configuration{grid, block, shared, c10::cuda::getCurrentCUDAStream(), &together, 1};
  C10_CUDA_CHECK(cudaLaunchKernelExC(&configuration, function, pointers));
}

/// Lets a kernel's launches ask for all the shared memory that a block may have: it declares none by itself. Multiprocessors keep
/// what they have for it, so that there is room for another kernel's blocks beside its own.
inline void allow_shared_memory(const void* function) {
  int most = at::cuda::getCurrentDeviceProperties()->sharedMemPerBlockOptin;
  C10_CUDA_CHECK(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
  C10_CUDA_CHECK(cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
}

template <class... Arguments>
void launch(const void* function, dim3 grid, dim3 block, size_t shared, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  C10_CUDA_CHECK(cudaLaunchKernel(function, grid, block, pointers, shared, c10::cuda::getCurrentCUDAStream()));
}

inline uint16_t* bits(const at::Tensor& tensor) { return static_cast<uint16_t*>(tensor.data_ptr()); }
inline uint16_t* optional_bits(const at::Tensor& tensor) { return tensor.defined() ? bits(tensor) : nullptr; }

inline std::string head(int64_t dimension) { return "-DHEAD=" + std::to_string(dimension); }

/// Blocks of a grid that keep every processor busy, `each` times over.
inline int busy_blocks(int each) { return 132 * each; }

}  // namespace ctorch
