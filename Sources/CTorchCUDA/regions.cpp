// Addresses of a device whose memory comes and goes (CUDA's virtual memory management), and host memory that a device copies from
// and to without a detour.
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>
#include <cuda.h>
#include <cuda_runtime_api.h>

#include "cuda_functions.h"

namespace {

// The driver's own functions; its library is not linked.
struct Driver {
  decltype(&cuMemGetAllocationGranularity) granularity;
  decltype(&cuMemAddressReserve) reserve;
  decltype(&cuMemAddressFree) free;
  decltype(&cuMemCreate) create;
  decltype(&cuMemRelease) release;
  decltype(&cuMemMap) map;
  decltype(&cuMemUnmap) unmap;
  decltype(&cuMemSetAccess) set_access;
  decltype(&cuGetErrorString) error_string;

  static const Driver& shared() {
    static const Driver driver;
    return driver;
  }

  void check(CUresult result, const char* what) const {
    if (result == CUDA_SUCCESS) return;
    const char* text = nullptr;
    error_string(result, &text);
    TORCH_CHECK(false, what, " failed: ", text ? text : "no reason given");
  }

 private:
  Driver() {
    find(granularity, "cuMemGetAllocationGranularity");
    find(reserve, "cuMemAddressReserve");
    find(free, "cuMemAddressFree");
    find(create, "cuMemCreate");
    find(release, "cuMemRelease");
    find(map, "cuMemMap");
    find(unmap, "cuMemUnmap");
    find(set_access, "cuMemSetAccess");
    find(error_string, "cuGetErrorString");
  }

  template <class F>
  static void find(F& function, const char* name) {
    void* address = nullptr;
    cudaDriverEntryPointQueryResult status;
    C10_CUDA_CHECK(cudaGetDriverEntryPointByVersion(name, &address, 12000, cudaEnableDefault, &status));
    TORCH_CHECK(address && status == cudaDriverEntryPointSuccess, "the driver has no function ", name);
    function = reinterpret_cast<F>(address);
  }
};

CUmemAllocationProp properties(int32_t device_index) {
  CUmemAllocationProp result = {};
  result.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  result.location = {CU_MEM_LOCATION_TYPE_DEVICE, device_index};
  return result;
}

CUdeviceptr address(void* start) { return reinterpret_cast<CUdeviceptr>(start); }

}  // namespace

namespace ctorch {

void* reserve_region(int32_t device_index, size_t* bytes) {
  return guarded<>(static_cast<void*>(nullptr), [&] {
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
    auto& driver = Driver::shared();
    auto wanted = properties(device_index);
    size_t unit = 0;
    driver.check(driver.granularity(&unit, &wanted, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED), "asking for the size of a block");
    *bytes = std::max<size_t>(1, (*bytes + unit - 1) / unit) * unit;
    CUdeviceptr start = 0;
    driver.check(driver.reserve(&start, *bytes, 0, 0, 0), "reserving addresses");
    return reinterpret_cast<void*>(start);
  });
}

void fill_region(int32_t device_index, void* start, size_t bytes) {
  guarded([&] {
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
    auto& driver = Driver::shared();
    auto wanted = properties(device_index);
    CUmemGenericAllocationHandle memory;
    auto result = driver.create(&memory, bytes, &wanted, 0);
    if (result == CUDA_ERROR_OUT_OF_MEMORY) {
      // What libtorch's allocator holds without need.
      c10::cuda::CUDACachingAllocator::emptyCache();
      result = driver.create(&memory, bytes, &wanted, 0);
    }
    driver.check(result, "taking memory");
    result = driver.map(address(start), bytes, 0, memory, 0);
    // It lives for as long as it is mapped.
    driver.release(memory);
    driver.check(result, "mapping memory");
    CUmemAccessDesc access = {wanted.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    driver.check(driver.set_access(address(start), bytes, &access, 1), "opening memory");
  });
}

void empty_region(int32_t device_index, void* start, size_t bytes) {
  guarded([&] {
    c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(device_index));
    // What still uses it ends first.
    C10_CUDA_CHECK(cudaDeviceSynchronize());
    Driver::shared().check(Driver::shared().unmap(address(start), bytes), "letting memory go");
  });
}

void release_region(void* start, size_t bytes) {
  guarded([&] { Driver::shared().check(Driver::shared().free(address(start), bytes), "letting addresses go"); });
}

void* pinned_memory(size_t bytes) {
  return guarded<>(static_cast<void*>(nullptr), [&] {
    void* memory = nullptr;
    C10_CUDA_CHECK(cudaHostAlloc(&memory, bytes, cudaHostAllocPortable));
    return memory;
  });
}

void release_pinned_memory(void* memory) {
  guarded([&] { C10_CUDA_CHECK(cudaFreeHost(memory)); });
}

}  // namespace ctorch
