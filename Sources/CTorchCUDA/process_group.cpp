// NCCL groups behind the same handles as Gloo's.
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "cuda_functions.h"

using namespace ctorch;

ct_group ctorch::nccl_group(ct_store store, int32_t rank, int32_t size, int32_t device_index, const char* name,
                            int64_t timeout_ms) {
  return guarded<>(ct_group{}, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    options->group_name = name;
    auto shared = c10::intrusive_ptr<c10d::Store>::reclaim_copy(reinterpret_cast<c10d::Store*>(store));
    auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(shared, rank, size, options);
    group->setGroupUid(name);
    group->setGroupDesc(name);
    // A barrier has no tensor that says which GPU is this rank's.
    group->setBoundDeviceId(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device_index)));
    return reinterpret_cast<ct_group>(static_cast<c10d::Backend*>(group.release()));
  });
}
