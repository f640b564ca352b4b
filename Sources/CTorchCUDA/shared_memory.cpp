// Memory that processes of one machine share (CUDA IPC).
#include <ATen/ATen.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <memory>

#include "cuda_functions.h"

static_assert(sizeof(cudaIpcMemHandle_t) == 64);

static c10::DeviceIndex index_of(int32_t device_index) { return static_cast<c10::DeviceIndex>(device_index); }

namespace ctorch {

// Not of libtorch's allocator: its expandable segments have no IPC handles, and its blocks share segments with others.
void* shared_memory(int32_t device_index, size_t bytes, uint8_t* handle) {
  return guarded<>(static_cast<void*>(nullptr), [&] {
    c10::cuda::CUDAGuard guard(index_of(device_index));
    // Smaller allocations share a block of the driver's, which would be open as a whole.
    constexpr size_t block = 2 << 20;
    bytes = (bytes + block - 1) / block * block;
    void* memory = nullptr;
    auto status = cudaMalloc(&memory, bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      // What libtorch's allocator holds without need.
      c10::cuda::CUDACachingAllocator::emptyCache();
      status = cudaMalloc(&memory, bytes);
    }
    C10_CUDA_CHECK(status);
    cudaIpcMemHandle_t made;
    status = cudaIpcGetMemHandle(&made, memory);
    if (status != cudaSuccess) cudaFree(memory);
    C10_CUDA_CHECK(status);
    std::memcpy(handle, &made, sizeof(made));
    return memory;
  });
}

void release_shared_memory(int32_t device_index, void* memory) {
  guarded([&] {
    c10::cuda::CUDAGuard guard(index_of(device_index));
    C10_CUDA_CHECK(cudaFree(memory));
  });
}

void* open_shared_memory(int32_t device_index, const uint8_t* handle) {
  return guarded<>(static_cast<void*>(nullptr), [&] {
    c10::cuda::CUDAGuard guard(index_of(device_index));
    cudaIpcMemHandle_t given;
    std::memcpy(&given, handle, sizeof(given));
    void* memory = nullptr;
    C10_CUDA_CHECK(cudaIpcOpenMemHandle(&memory, given, cudaIpcMemLazyEnablePeerAccess));
    return memory;
  });
}

void close_shared_memory(int32_t device_index, void* memory) {
  guarded([&] {
    c10::cuda::CUDAGuard guard(index_of(device_index));
    // What still reads it ends first.
    C10_CUDA_CHECK(cudaDeviceSynchronize());
    C10_CUDA_CHECK(cudaIpcCloseMemHandle(memory));
  });
}

ct_tensor from_device_memory(void* memory, int64_t bytes, int32_t device_index, void (*release)(void*), void* context) {
  return guarded<>(ct_tensor{}, [&] {
    // The owner goes with the tensor, or with a failure to make one.
    std::shared_ptr<void> owner(context, release);
    auto options = at::TensorOptions().dtype(at::kByte).device(at::Device(at::kCUDA, index_of(device_index)));
    return give(at::from_blob(memory, {bytes}, [owner](void*) {}, options));
  });
}

}  // namespace ctorch
