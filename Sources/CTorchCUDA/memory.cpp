// What a device is and has.
#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda_runtime_api.h>

#include "cuda_functions.h"

namespace allocator = c10::cuda::CUDACachingAllocator;
using c10::CachingAllocator::StatType;

// The allocator knows of no device before the first tensor.
static void prepare() { at::globalContext().lazyInitDevice(c10::DeviceType::CUDA); }

bool ctorch::memory(int32_t device_index, ct_memory* out) {
  return guarded<>(false, [&] {
    prepare();
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
    size_t free = 0, total = 0;
    C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
    auto stats = allocator::getDeviceStats(static_cast<c10::DeviceIndex>(device_index));
    auto all = static_cast<size_t>(StatType::AGGREGATE);
    *out = {free, total, static_cast<uint64_t>(stats.allocated_bytes[all].current),
            static_cast<uint64_t>(stats.allocated_bytes[all].peak),
            static_cast<uint64_t>(stats.reserved_bytes[all].current)};
    return true;
  });
}

void ctorch::reset_peak_memory(int32_t device_index) {
  guarded([&] {
    prepare();
    allocator::resetPeakStats(static_cast<c10::DeviceIndex>(device_index));
  });
}

void ctorch::empty_cache() {
  guarded([&] { allocator::emptyCache(); });
}

int32_t ctorch::compute_capability(int32_t device_index) {
  return guarded<>(int32_t{0}, [&] {
    int major = 0, minor = 0;
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device_index));
    C10_CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device_index));
    return major * 10 + minor;
  });
}
