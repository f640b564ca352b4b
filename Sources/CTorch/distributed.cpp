// Process groups over c10d: stores, Gloo, collectives.
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "internal.h"

using namespace ctorch;
using std::chrono::milliseconds;

namespace {

c10::intrusive_ptr<c10d::Store> store_of(ct_store store) {
  return c10::intrusive_ptr<c10d::Store>::reclaim_copy(reinterpret_cast<c10d::Store*>(store));
}

ct_store give_store(c10::intrusive_ptr<c10d::Store> store) { return reinterpret_cast<ct_store>(store.release()); }

c10d::Backend& group_of(ct_group group) { return *reinterpret_cast<c10d::Backend*>(group); }

ct_work give_work(c10::intrusive_ptr<c10d::Work> work) { return reinterpret_cast<ct_work>(work.release()); }

c10d::ReduceOp reduce_op(int32_t reduction) { return static_cast<c10d::ReduceOp::RedOpType>(reduction); }

std::vector<int64_t> splits(ct_ints list) { return {list.data, list.data + list.count}; }

}  // namespace

ct_store ct_tcp_store(const char* host, uint16_t port, bool is_server, int32_t workers, int64_t timeout_ms) {
  return guarded<>(ct_store{}, [&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = is_server;
    options.numWorkers = workers;
    // A client counts itself, and goes on at once: PyTorch's servers wait for the count.
    options.waitWorkers = !is_server;
    options.timeout = milliseconds(timeout_ms);
    return give_store(c10::make_intrusive<c10d::TCPStore>(host, options));
  });
}

uint16_t ct_tcp_store_port(ct_store store) {
  return guarded<>(uint16_t{0}, [&] {
    auto* tcp = dynamic_cast<c10d::TCPStore*>(reinterpret_cast<c10d::Store*>(store));
    TORCH_CHECK(tcp, "only a TCP store has a port");
    return static_cast<uint16_t>(tcp->getPort());
  });
}

ct_store ct_hash_store(void) {
  return guarded<>(ct_store{}, [&] { return give_store(c10::make_intrusive<c10d::HashStore>()); });
}

ct_store ct_file_store(const char* path, int32_t workers) {
  return guarded<>(ct_store{}, [&] { return give_store(c10::make_intrusive<c10d::FileStore>(path, workers)); });
}

ct_store ct_prefix_store(const char* prefix, ct_store store) {
  return guarded<>(ct_store{}, [&] {
    return give_store(c10::make_intrusive<c10d::PrefixStore>(prefix, store_of(store)));
  });
}

void ct_store_set(ct_store store, const char* key, const char* value) {
  guarded([&] { store_of(store)->set(key, std::vector<uint8_t>(value, value + strlen(value))); });
}

char* ct_store_get(ct_store store, const char* key, int64_t timeout_ms) {
  return guarded<>(static_cast<char*>(nullptr), [&] {
    store_of(store)->wait({key}, milliseconds(timeout_ms));
    auto value = store_of(store)->get(key);
    return strndup(reinterpret_cast<const char*>(value.data()), value.size());
  });
}

void ct_store_release(ct_store store) {
  guarded([&] { c10::intrusive_ptr<c10d::Store>::reclaim(reinterpret_cast<c10d::Store*>(store)); });
}

void ct_turn_flight_recorder_off(void) {
  // Not when the library is loaded: a static Swift finds the program's arguments beside the environment, which this moves.
  static std::once_flag once;
  std::call_once(once, [] {
    if (!getenv("TORCH_NCCL_TRACE_BUFFER_SIZE")) setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/0);
  });
}

ct_group ct_gloo_group(ct_store store, int32_t rank, int32_t size, const char* host, int64_t timeout_ms) {
  return guarded<>(ct_group{}, [&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(timeout_ms));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(host));
    auto group = c10::make_intrusive<c10d::ProcessGroupGloo>(store_of(store), rank, size, options);
    return reinterpret_cast<ct_group>(static_cast<c10d::Backend*>(group.release()));
  });
}

void ct_group_release(ct_group group) {
  guarded([&] { c10::intrusive_ptr<c10d::Backend>::reclaim(reinterpret_cast<c10d::Backend*>(group)); });
}

void ct_group_abort(ct_group group) {
  guarded([&] { group_of(group).abort(); });
}

ct_work ct_all_reduce(ct_group group, ct_tensor tensor, int32_t reduction, int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    std::vector<at::Tensor> tensors{borrow(tensor)};
    c10d::AllreduceOptions options;
    options.reduceOp = reduce_op(reduction);
    options.timeout = milliseconds(timeout_ms);
    return give_work(group_of(group).allreduce(tensors, options));
  });
}

ct_work ct_all_gather(ct_group group, ct_tensor output, ct_tensor input, int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    c10d::AllgatherOptions options;
    options.timeout = milliseconds(timeout_ms);
    return give_work(group_of(group)._allgather_base(borrow(output), borrow(input), options));
  });
}

ct_work ct_reduce_scatter(ct_group group, ct_tensor output, ct_tensor input, int32_t reduction, int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    c10d::ReduceScatterOptions options;
    options.reduceOp = reduce_op(reduction);
    options.timeout = milliseconds(timeout_ms);
    return give_work(group_of(group)._reduce_scatter_base(borrow(output), borrow(input), options));
  });
}

ct_work ct_all_to_all(ct_group group, ct_tensor output, ct_tensor input, ct_ints output_splits, ct_ints input_splits,
                      int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    c10d::AllToAllOptions options;
    options.timeout = milliseconds(timeout_ms);
    auto out = splits(output_splits);
    auto in = splits(input_splits);
    return give_work(
        group_of(group).alltoall_base(borrow(output), borrow(input), out, in, options));
  });
}

ct_work ct_broadcast(ct_group group, ct_tensor tensor, int32_t root, int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    std::vector<at::Tensor> tensors{borrow(tensor)};
    c10d::BroadcastOptions options;
    options.rootRank = root;
    options.timeout = milliseconds(timeout_ms);
    return give_work(group_of(group).broadcast(tensors, options));
  });
}

ct_work ct_send(ct_group group, ct_tensor tensor, int32_t destination, int32_t tag) {
  return guarded<>(ct_work{}, [&] {
    std::vector<at::Tensor> tensors{borrow(tensor)};
    return give_work(group_of(group).send(tensors, destination, tag));
  });
}

ct_work ct_receive(ct_group group, ct_tensor tensor, int32_t source, int32_t tag) {
  return guarded<>(ct_work{}, [&] {
    std::vector<at::Tensor> tensors{borrow(tensor)};
    return give_work(group_of(group).recv(tensors, source, tag));
  });
}

ct_work ct_barrier(ct_group group, int64_t timeout_ms) {
  return guarded<>(ct_work{}, [&] {
    c10d::BarrierOptions options;
    options.timeout = milliseconds(timeout_ms);
    return give_work(group_of(group).barrier(options));
  });
}

bool ct_work_wait(ct_work work, int64_t timeout_ms) {
  return guarded<>(false, [&] {
    return reinterpret_cast<c10d::Work*>(work)->wait(milliseconds(timeout_ms));
  });
}

bool ct_work_is_completed(ct_work work) {
  return guarded<>(false, [&] { return reinterpret_cast<c10d::Work*>(work)->isCompleted(); });
}

bool ct_work_is_done(ct_work work) {
  return guarded<>(false, [&] {
    auto& own = *reinterpret_cast<c10d::Work*>(work);
    bool is_done = own.isCompleted();
    if (auto failure = own.exception()) std::rethrow_exception(failure);
    return is_done;
  });
}

void ct_work_release(ct_work work) {
  guarded([&] { c10::intrusive_ptr<c10d::Work>::reclaim(reinterpret_cast<c10d::Work*>(work)); });
}
