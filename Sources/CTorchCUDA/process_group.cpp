// NCCL groups behind the same handles as Gloo's.
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <cstdlib>
#include <mutex>
#include <optional>

#include "cuda_functions.h"

using namespace ctorch;

namespace {

// What becomes of the process when a collective fails is read from the environment by each group that is made.
class ErrorHandling {
 public:
  explicit ErrorHandling(bool survives) : lock_(mutex()), survives_(survives) {
    if (!survives_) return;
    if (auto* value = getenv(name)) before_ = value;
    setenv(name, std::to_string(c10d::NoHandling).c_str(), /*overwrite=*/1);
  }
  ~ErrorHandling() {
    if (!survives_) return;
    before_ ? setenv(name, before_->c_str(), 1) : unsetenv(name);
  }

 private:
  static constexpr const char* name = "TORCH_NCCL_ASYNC_ERROR_HANDLING";
  static std::mutex& mutex() {
    static std::mutex own;
    return own;
  }
  std::lock_guard<std::mutex> lock_;
  bool survives_;
  std::optional<std::string> before_;
};

}  // namespace

ct_group ctorch::nccl_group(ct_store store, int32_t rank, int32_t size, int32_t device_index, const char* name,
                            int64_t timeout_ms, bool survives) {
  return guarded<>(ct_group{}, [&] {
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(timeout_ms);
    options->group_name = name;
    auto shared = c10::intrusive_ptr<c10d::Store>::reclaim_copy(reinterpret_cast<c10d::Store*>(store));
    ErrorHandling handling(survives);
    auto group = c10::make_intrusive<c10d::ProcessGroupNCCL>(shared, rank, size, options);
    group->setGroupUid(name);
    group->setGroupDesc(name);
    // A barrier has no tensor that says which GPU is this rank's.
    group->setBoundDeviceId(at::Device(at::kCUDA, static_cast<at::DeviceIndex>(device_index)));
    return reinterpret_cast<ct_group>(static_cast<c10d::Backend*>(group.release()));
  });
}
