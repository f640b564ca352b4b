// Work in pieces that threads take one after another.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <dlfcn.h>

#include <atomic>
#include <exception>
#include <mutex>

namespace ctorch {

/// A function of libtorch's own copies of OpenMP and MKL; null where it has none.
template <typename F>
F* find(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_DEFAULT, name));
}

/// Libraries that are asked for a product divide long sums among the threads that they may have: one, here.
class OneThread {
 public:
  OneThread() {
    // A thread that is new to ATen would be given its number of threads later, by the first operator.
    at::get_num_threads();
    if (set_mkl) mkl_before = set_mkl(1);
    if (get_omp && set_omp) {
      omp_before = get_omp();
      set_omp(1);
    }
  }
  ~OneThread() {
    if (set_mkl) set_mkl(mkl_before);
    if (get_omp && set_omp) set_omp(omp_before);
  }

 private:
  static inline int (*const set_mkl)(int) = find<int(int)>("MKL_Set_Num_Threads_Local");
  static inline int (*const get_omp)() = find<int()>("omp_get_max_threads");
  static inline void (*const set_omp)(int) = find<void(int)>("omp_set_num_threads");
  int mkl_before = 0;
  int omp_before = 1;
};

/// What a parallel region of OpenMP compiles to; this compiler has none.
using Region = void(void (*body)(void*), void* context, unsigned threads, unsigned flags);

template <typename F>
struct Pieces {
  const F& body;
  const int64_t count;
  std::atomic<int64_t> next{0};
  std::mutex lock;
  std::exception_ptr error;

  void run() noexcept {
    // Threads of the pool know nothing of what is off on the caller's.
    at::AutoDispatchBelowADInplaceOrView without_gradients;
    OneThread one_thread;
    try {
      for (int64_t index; (index = next++) < count;) body(index);
    } catch (...) {
      std::lock_guard guard(lock);
      error = std::current_exception();
      next = count;
    }
  }
};

/// Calls `body(index)` for each of `count` pieces, on as many threads as ATen has, each of which computes by itself.
template <typename F>
void for_each_piece(int64_t count, const F& body) {
  static Region* const region = find<Region>("GOMP_parallel");
  Pieces<F> pieces{body, count};
  int64_t threads = std::min<int64_t>(at::get_num_threads(), count);
  if (region && threads > 1) {
    region([](void* context) { static_cast<Pieces<F>*>(context)->run(); }, &pieces, threads, 0);
  } else {
    pieces.run();
  }
  if (pieces.error) std::rethrow_exception(pieces.error);
}

}  // namespace ctorch
