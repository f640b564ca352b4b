// What runs on the meta device would take, and what runs on the host does: bytes of memory, and operations of matrix
// products and attention.

// As libtorch was compiled, which else would be asked for what only its debug builds note.
#define NDEBUG
#include <ATen/record_function.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>

#include "internal.h"

using namespace ctorch;

namespace {

struct Account {
  std::atomic<int64_t> held{0};
  std::atomic<int64_t> peak{0};
  std::atomic<int64_t> allocated{0};
  std::atomic<int64_t> host_held{0};
  std::atomic<int64_t> host_peak{0};
  double operations = 0;

  void add(int64_t bytes) {
    allocated += bytes;
    held += bytes;
    peak = std::max(peak.load(), held.load());
  }
};

/// What the calling thread's meta tensors count in.
thread_local std::shared_ptr<Account> current;
thread_local at::CallbackHandle callback = at::INVALID_CALLBACK_HANDLE;
thread_local std::unique_ptr<c10::DebugInfoGuard> host_guard;

/// Told by the CPU's allocator what this thread, and threads that work for it, take and give back.
struct HostReporter : c10::MemoryReportingInfoBase {
  explicit HostReporter(std::shared_ptr<Account> account) : account(std::move(account)) {}
  void reportMemoryUsage(void*, int64_t size, size_t, size_t, c10::Device device) override {
    if (!device.is_cpu()) return;
    account->host_held += size;
    account->host_peak = std::max(account->host_peak.load(), account->host_held.load());
  }
  bool memoryProfilingEnabled() const override { return true; }
  std::shared_ptr<Account> account;
};

struct Block {
  std::shared_ptr<Account> account;
  int64_t bytes;
};

void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  block->account->held -= block->bytes;
  delete block;
}

void free_nothing(void*) {}

/// The meta device's allocator gives no memory; this one remembers besides how much was asked for, and by whom.
struct CountingAllocator final : c10::Allocator {
  c10::DataPtr allocate(size_t bytes) override {
    if (!current || bytes == 0) return {nullptr, nullptr, &free_nothing, at::Device(at::kMeta)};
    auto* block = new Block{current, static_cast<int64_t>(bytes)};
    current->add(block->bytes);
    return {nullptr, block, &free_block, at::Device(at::kMeta)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free_nothing; }
  void copy_data(void*, const void*, std::size_t) const override {}
};

/// 2·q·k·(heads · dimension) for each of `products` matrix products; under a causal mask half of it.
double attention(const at::Tensor& query, int64_t keys, bool causal, int products) {
  return 2.0 * query.numel() * keys * products * (causal ? 0.5 : 1.0);
}

double operations(const char* name, c10::ArrayRef<const c10::IValue> inputs) {
  auto tensor = [&](size_t i) -> const at::Tensor& { return inputs[i].toTensor(); };
  auto product = [&](size_t a, size_t b) { return 2.0 * tensor(a).numel() * tensor(b).size(-1); };
  if (std::strncmp(name, "aten::", 6) != 0) return 0;
  name += 6;
  auto is = [&](const char* other) { return std::strcmp(name, other) == 0; };
  if (is("mm") || is("bmm")) return product(0, 1);
  if (is("addmm") || is("baddbmm")) return product(1, 2);
  // [rows, k] × [groups, k, n], or for the weights' gradient [k, rows] × [rows, n]: each row meets one group.
  if (is("_grouped_mm")) return product(0, 1);
  // Half of the matrix is zero.
  if (is("linalg_solve_triangular")) return product(0, 1) / 2;
  // Sequences count as long as the longest. Two products forward, five backward.
  if (is("_flash_attention_forward")) return attention(tensor(0), inputs[6].toInt(), inputs[8].toBool(), 2);
  if (is("_flash_attention_backward")) return attention(tensor(1), inputs[9].toInt(), inputs[11].toBool(), 5);
  if (is("_scaled_dot_product_flash_attention_for_cpu")) {
    return attention(tensor(0), tensor(1).size(2), inputs[4].toBool(), 2);
  }
  if (is("_scaled_dot_product_flash_attention_for_cpu_backward")) {
    return attention(tensor(1), tensor(2).size(2), inputs[7].toBool(), 5);
  }
  return 0;
}

std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
  if (current) current->operations += operations(function.name(), function.inputs());
  return nullptr;
}

}  // namespace

struct ct_account_impl {
  std::shared_ptr<Account> account = std::make_shared<Account>();
};

ct_account ct_account_new(void) {
  return guarded<>(ct_account{}, [&] {
    static CountingAllocator allocator;
    static const bool installed = (c10::SetAllocator(at::kMeta, &allocator, /*priority=*/1), true);
    return installed ? new ct_account_impl() : nullptr;
  });
}

void ct_account_release(ct_account account) { delete account; }

void ct_account_enter(ct_account account) {
  guarded([&] {
    if (callback != at::INVALID_CALLBACK_HANDLE) at::removeCallback(callback);
    callback = at::INVALID_CALLBACK_HANDLE;
    host_guard.reset();
    current = account ? account->account : nullptr;
    if (!current) return;
    host_guard = std::make_unique<c10::DebugInfoGuard>(
        c10::DebugInfoKind::PROFILER_STATE, std::make_shared<HostReporter>(current));
    callback = at::addThreadLocalCallback(
        at::RecordFunctionCallback(&count).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  });
}

int64_t ct_account_held(ct_account account) { return account->account->held; }
int64_t ct_account_peak(ct_account account) { return account->account->peak; }
int64_t ct_account_allocated(ct_account account) { return account->account->allocated; }
double ct_account_operations(ct_account account) { return account->account->operations; }
int64_t ct_account_host_held(ct_account account) { return account->account->host_held; }
int64_t ct_account_host_peak(ct_account account) { return account->account->host_peak; }

void ct_account_reset_peak(ct_account account) {
  account->account->peak = account->account->held.load();
  account->account->host_peak = account->account->host_held.load();
}
