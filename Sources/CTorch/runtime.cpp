// The process: threads, random generators, CUDA when it is opened.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <torch/version.h>

#include <atomic>
#include <cstdlib>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "internal.h"
#include "pieces.h"

using namespace ctorch;

#if defined(__x86_64__)
// On processors of other makers than Intel, MKL's products round a row by where it stands in the matrix unless it is asked
// for reproducible results (MKL_CBWR_AUTO), which are no slower there. Asked before its first product; not by the environment,
// which Swift's runtime reads arguments beside.
__attribute__((constructor)) static void ask_for_reproducible_products() {
  unsigned int highest = 0, maker = 0, c = 0, d = 0;
  if (!__get_cpuid(0, &highest, &maker, &c, &d) || maker == signature_INTEL_ebx || getenv("MKL_CBWR")) return;
  constexpr int automatic = 2;
  if (auto* set = find<int(int)>("mkl_serv_cbwr_set")) set(automatic);
}
#endif

const char* ct_version(void) { return TORCH_VERSION; }
void ct_set_num_threads(int32_t threads) {
  guarded([&] { at::set_num_threads(threads); });
}
int32_t ct_num_threads(void) { return at::get_num_threads(); }
// ATen looks its CUDA hooks up once: who asks for them before the library is open has none for good.
static std::atomic<bool> library_is_open{false};

bool ct_has_cuda(void) {
  if (!library_is_open) return false;
  return guarded<>(false, [&] { return at::hasCUDA() && at::detail::getCUDAHooks().deviceCount() > 0; });
}

bool ct_load_library(const char* path) {
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) {
    library_is_open = true;
    return true;
  }
  set_error(dlerror());
  return false;
}

static std::atomic<const ct_cuda_functions*> cuda_functions = nullptr;

const ct_cuda_functions* ct_cuda(void) { return cuda_functions; }

bool ct_open_cuda_library(const char* path) {
  return guarded<>(false, [&] {
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    TORCH_CHECK(library, dlerror());
    using Initialize = const ct_cuda_functions*(size_t, void (*)(const char*));
    auto* initialize = reinterpret_cast<Initialize*>(dlsym(library, "ct_cuda_initialize"));
    TORCH_CHECK(initialize, path, " has no function ct_cuda_initialize");
    // The size tells builds apart; errors are kept here, by thread.
    auto* functions = initialize(sizeof(ct_cuda_functions), ct_raise);
    TORCH_CHECK(functions, path, " belongs to another build; build it again");
    cuda_functions = functions;
    return true;
  });
}

int32_t ct_cuda_device_count(void) {
  return guarded<>(int32_t{0}, [&] { return static_cast<int32_t>(at::detail::getCUDAHooks().deviceCount()); });
}

void ct_cuda_synchronize(int32_t device_index) {
  guarded([&] { at::detail::getCUDAHooks().deviceSynchronize(static_cast<at::DeviceIndex>(device_index)); });
}

void ct_cuda_set_device(int32_t device_index) {
  guarded([&] {
    c10::impl::VirtualGuardImpl(at::kCUDA).setDevice({at::kCUDA, static_cast<at::DeviceIndex>(device_index)});
  });
}

void ct_set_deterministic(bool deterministic) {
  guarded([&] {
    at::globalContext().setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
    // Nothing here reads memory that it has not written.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

ct_generator ct_generator_new(int32_t device_type, int32_t device_index, uint64_t seed) {
  return guarded<>(ct_generator{}, [&] {
    auto type = static_cast<at::DeviceType>(device_type);
    auto generator =
        type == at::kCPU
            ? at::make_generator<at::CPUGeneratorImpl>(seed)
            : at::globalContext().getAcceleratorHooksInterface(type).getNewGenerator(
                  static_cast<at::DeviceIndex>(device_index));
    generator.set_current_seed(seed);
    return reinterpret_cast<ct_generator>(generator.unsafeReleaseGeneratorImpl());
  });
}

void ct_generator_release(ct_generator generator) {
  c10::intrusive_ptr<c10::GeneratorImpl>::reclaim(reinterpret_cast<c10::GeneratorImpl*>(generator));
}

ct_tensor ct_generator_state(ct_generator generator) {
  return guarded<>(ct_tensor{}, [&] { return give(borrow(generator).get_state()); });
}

void ct_generator_set_state(ct_generator generator, ct_tensor state) {
  guarded([&] { borrow(generator).set_state(borrow(state)); });
}

const char* ct_library_path(void) {
  Dl_info info;
  return dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &info) ? info.dli_fname : nullptr;
}
